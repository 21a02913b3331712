// The line of descent as lanes, the way logs of version control draw it: a row for each policy, newest first, and a lane for
// each line that is still to reach its parent.

type Node = { id: string; parent: string | null };

/** `edges`: from this row's lanes to the next one's. `child`: the policy that the edge descends from. */
export type Row<N> = { node: N; lane: number; edges: { from: number; to: number; child: string }[] };

type Waiting = { parent: string; child: string } | null;

/** The parents of nodes come after them. A parent that is not among them is below the last row. */
export function layOut<N extends Node>(nodes: N[]): { rows: Row<N>[]; lanes: number } {
  const lanes: Waiting[] = [];
  const rows: Row<N>[] = [];
  for (const node of nodes) {
    let lane = lanes.findIndex((one) => one?.parent === node.id);
    if (lane === -1) lane = lanes.indexOf(null);
    if (lane === -1) lane = lanes.length;
    rows
      .at(-1)
      ?.edges.push(
        ...lanes.flatMap((one, from) =>
          one ? [{ from, to: one.parent === node.id ? lane : from, child: one.child }] : [],
        ),
      );
    for (const [at, one] of lanes.entries()) if (one?.parent === node.id) lanes[at] = null;
    lanes[lane] = node.parent === null ? null : { parent: node.parent, child: node.id };
    rows.push({ node, lane, edges: [] });
  }
  rows.at(-1)?.edges.push(...lanes.flatMap((one, from) => (one ? [{ from, to: from, child: one.child }] : [])));
  return { rows, lanes: Math.max(1, lanes.length) };
}

/** The ids from this policy to its root. */
export function listAncestors(nodes: Node[], id: string | undefined): Set<string> {
  const parents = new Map(nodes.map((node) => [node.id, node.parent]));
  const line = new Set<string>();
  for (let at: string | null | undefined = id; at && !line.has(at); at = parents.get(at)) line.add(at);
  return line;
}
