// The screen of the continuous demo, from the state of its parts. Pure: it returns lines and draws nothing.

import type { ExtenderEndpoint } from './extender-service.ts';
import { gpuMap } from './gpu-map.ts';
import { headline, latencyLine, memoryLine, podCounts, reasonLines, viewLines, type Setting } from './report.ts';
import type { Session } from './session.ts';
import { line, span, type Line, type Look } from './styled-text.ts';
import { gpuTotals } from './summary.ts';

export interface DashboardView {
  readonly setting: Setting;
  readonly session: Session;
  readonly extender: ExtenderEndpoint;
  readonly elapsedMillis: number;
  readonly millisPerMinute: number;
  /** The latest line of the extender's log, or nothing. */
  readonly trouble: string;
}

const SHOWN_CAUSES = 4;

export function dashboard(view: DashboardView, look: Look, rows: number): Line[] {
  const { setting, session, extender } = view;
  const occupancy = session.occupancy();
  const head = [
    headline(setting),
    podCounts(session.tally),
    memoryLine(gpuTotals(occupancy), look),
    latencyLine(session.latencies),
    [],
  ];
  const foot = [
    [],
    ...causes(session, look),
    ...viewLines(extender.opsUrl, session.refusedPod()),
    line(span(`${clock(view)}  Ctrl-C ends${view.trouble === '' ? '' : `  ${view.trouble}`}`, 'dim')),
  ];
  const room = rows - 1 - head.length - foot.length;
  return [...head, ...gpuMap(occupancy, look, room), ...foot];
}

function causes({ tally }: Session, look: Look): Line[] {
  if (tally.refusedNow === 0) return [line('no pod is waiting for room')];
  return [
    line(`${tally.refusedNow} pods wait, refused because:`),
    ...reasonLines(tally.causes().slice(0, SHOWN_CAUSES), look),
  ];
}

function clock({ elapsedMillis, millisPerMinute }: DashboardView): string {
  const seconds = Math.floor(elapsedMillis / 1000);
  const time = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
  return `${time}, one minute of pod time takes ${(millisPerMinute / 1000).toFixed(1)} s`;
}
