// The look of the report: light and dark by the reader's preference, always light on paper. Colours of series are those of
// Okabe and Ito (2008), which people with any colour vision can tell apart.

export const STYLE: string = `
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--soft:#57606a;--rule:#d0d7de;--card:#f6f8fa;--limit:#57606a;
--s0:#0072b2;--s1:#d55e00;--s2:#00805e;--s3:#a4447a;--s4:#8a6d00;--s5:#24292f;--s6:#3b8ea5;--s7:#7d4e9e;
--l0:#eef1f4;--l1:#c6dbef;--l2:#8bbbdd;--l3:#4a92c6;--l4:#d55e00;--l5:#1f3d66;--r0:#9db2c6;--r1:#6f8aa6;--r2:#3f5d7d;--r3:#b8a98a;--r4:#8d7a55;--r5:#5c4d33;--hatch:#fff}
@media (prefers-color-scheme:dark){:root{--paper:#0d1117;--ink:#e6edf3;--soft:#9aa4af;--rule:#30363d;--card:#161b22;--limit:#9aa4af;
--s0:#56b4e9;--s1:#e69f00;--s2:#35c6a0;--s3:#e08fc0;--s4:#f0e442;--s5:#f0f6fc;--s6:#7fd6e8;--s7:#c3a1e0;
--l0:#21262d;--l1:#1f3a57;--l2:#2b5f8f;--l3:#3f8ccb;--l4:#e69f00;--l5:#b9dcf7;--r0:#c9d6e2;--r1:#8aa4be;--r2:#54728f;--r3:#d8c9a8;--r4:#a8936a;--r5:#776443;--hatch:#0d1117}}
*{box-sizing:border-box}
body{margin:0;overflow-wrap:anywhere;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
main,header{max-width:1120px;margin:0 auto;padding:0 16px}
header{padding-top:24px}
h1{font-size:1.7rem;line-height:1.2;margin:0 0 4px}
h2{font-size:1.3rem;margin:40px 0 4px;padding-top:8px;border-top:2px solid var(--rule)}
p{margin:4px 0 12px;max-width:75ch}
.soft,figcaption,caption{color:var(--soft)}
.plots{display:grid;gap:16px;margin-bottom:16px;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));align-items:start}
figure{margin:0;padding:12px;background:var(--card);border:1px solid var(--rule);border-radius:8px;min-width:0}
figcaption{font-size:.85rem;margin-top:6px}
h3{font-size:1rem;margin:0 0 6px}
svg{display:block;width:100%;height:auto;font-family:inherit}
text{fill:var(--ink);font-size:13px}
.tick{font-size:12px;fill:var(--soft)}
.note{font-size:12px;fill:var(--limit);paint-order:stroke;stroke:var(--card);stroke-width:3px}
.grid{stroke:var(--rule);stroke-width:1}
.limit{stroke:var(--limit);stroke-width:1.5;stroke-dasharray:5 4}
.line{fill:none;stroke-width:2;stroke-linejoin:round}
.error{stroke:var(--ink);stroke-width:1.5}
.published{fill:var(--card);stroke:var(--ink);stroke-width:1.5}
.part{stroke:var(--ink);stroke-width:.6}
.cell{stroke-width:3.4}.swatch{stroke-width:10}
.hatch{stroke:var(--hatch);stroke-width:1.2;fill:none}
${seriesRules()}
${levelRules()}
.scroll{overflow-x:auto;margin:12px 0}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
caption{text-align:left;padding:4px 0}
th,td{padding:4px 12px 4px 0;border-bottom:1px solid var(--rule);text-align:right;white-space:nowrap}
th:first-child{text-align:left}
thead th{color:var(--soft);font-weight:600}
details{margin:12px 0}
summary{cursor:pointer;color:var(--soft)}
footer{max-width:1120px;margin:32px auto;padding:0 16px;color:var(--soft);font-size:.85rem}
@page{margin:14mm}
@media print{:root{color-scheme:light;--paper:#fff;--ink:#000;--soft:#333;--rule:#bbb;--card:#fff;--limit:#333;
--s0:#0072b2;--s1:#d55e00;--s2:#00805e;--s3:#a4447a;--s4:#8a6d00;--s5:#24292f;--s6:#3b8ea5;--s7:#7d4e9e;
--l0:#eef1f4;--l1:#c6dbef;--l2:#8bbbdd;--l3:#4a92c6;--l4:#d55e00;--l5:#1f3d66;--r0:#9db2c6;--r1:#6f8aa6;--r2:#3f5d7d;--r3:#b8a98a;--r4:#8d7a55;--r5:#5c4d33;--hatch:#fff}
body{font-size:11pt;print-color-adjust:exact;-webkit-print-color-adjust:exact}
main,header,footer{max-width:none;padding:0}
figure{break-inside:avoid;border-color:#bbb}
.plots{grid-template-columns:1fr 1fr;gap:8px}
h2{break-before:page}h2.first{break-before:auto}h2,h3{break-after:avoid}
.scroll{overflow:visible}table{font-size:8.5pt}th,td{padding-right:8px}tr{break-inside:avoid}
details:not([open]){display:none}}`;

function seriesRules(): string {
  return Array.from(
    { length: 8 },
    (_, at) => `.line.s${at}{stroke:var(--s${at})}.mark.s${at},.bar.s${at}{fill:var(--s${at})}`,
  ).join('\n');
}

function levelRules(): string {
  return Array.from({ length: 6 }, (_, at) => `.l${at}{stroke:var(--l${at})}.r${at}{fill:var(--r${at})}`).join('');
}
