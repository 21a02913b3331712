// A graph's name or path → that of the same graph with unsigned weights, for processors on which products of signed bytes
// saturate.
export function toUnsignedName(graph: string): string {
  return graph.replace(/\.onnx$/, '-unsigned.onnx');
}
