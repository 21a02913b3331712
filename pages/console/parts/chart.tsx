// A plot by ECharts, which is loaded with the first one. Its numbers are a table too, for screen readers and for who asks, and
// both can be downloaded.

import type { EChartsCoreOption, EChartsType } from 'echarts/core';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { downloadCsv, downloadPng, type Numbers } from './download.ts';
import { type Palette, usePalette } from './palette.ts';
import { tooltip } from './plot-style.ts';
import { Table } from './table.tsx';

type ChartProps = {
  /** of the files that are downloaded, too */
  name: string;
  numbers: Numbers;
  /** the same function as long as it draws the same, because each new one draws the plot anew */
  option(palette: Palette): EChartsCoreOption;
  height?: 240 | 320;
};

export function Chart({ name, numbers, option, height = 240 }: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const chart = useRef<EChartsType | null>(null);
  const [isTable, setTable] = useState(false);
  const palette = usePalette();
  const drawn = useMemo(() => complete(option(palette), palette), [option, palette]);
  const latest = useRef(drawn);
  latest.current = drawn;

  useEffect(() => {
    const { current } = box;
    if (!current) return;
    let isGone = false;
    const resize = new ResizeObserver(() => chart.current?.resize());
    import('./echarts.ts').then(({ openChart }) => {
      if (isGone) return;
      chart.current = openChart(current);
      chart.current.setOption(latest.current);
      resize.observe(current);
    });
    return () => {
      isGone = true;
      resize.disconnect();
      chart.current?.dispose();
      chart.current = null;
    };
  }, [isTable]);
  // What is drawn again does not move in again.
  useEffect(() => {
    chart.current?.setOption({ ...drawn, animation: false }, { notMerge: true });
  }, [drawn]);

  return (
    <figure class="chart">
      {isTable ? (
        <Table
          caption={`${name}, as a table`}
          columns={numbers.columns.map((title, at) => ({
            title,
            isNumber: numbers.rows.some((row) => typeof row[at] === 'number'),
            cell: (row: Numbers['rows'][number]) => row[at] ?? '–',
          }))}
          rows={numbers.rows}
          rowKey={(_, at) => String(at)}
        />
      ) : (
        <div ref={box} role="img" aria-label={`${name}; the table has its numbers`} class={`plot h${height}`} />
      )}
      <figcaption class="actions">
        <button type="button" class="plain" aria-pressed={isTable} onClick={() => setTable(!isTable)}>
          {isTable ? 'Plot' : 'Table'}
        </button>
        <button type="button" class="plain" onClick={() => downloadCsv(name, numbers)}>
          CSV
        </button>
        {!isTable && (
          <button
            type="button"
            class="plain"
            onClick={() => chart.current && downloadPng(name, chart.current, palette.card)}
          >
            PNG
          </button>
        )}
      </figcaption>
    </figure>
  );
}

/** What all plots have in common. */
function complete(option: EChartsCoreOption, palette: Palette): EChartsCoreOption {
  const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
  return {
    animation: !still,
    animationDuration: 300,
    textStyle: { fontFamily: 'system-ui, sans-serif', color: palette.text },
    tooltip: { trigger: 'axis', ...tooltip(palette) },
    grid: { left: 4, right: 12, top: 28, bottom: 4, containLabel: true },
    ...option,
  };
}
