-- The page's style sheet. No script, no font and no picture comes from elsewhere.

return [[
:root { color-scheme: light dark; --paper: #fff; --tint: #f4f5f6; --ink: #1d2125; --soft: #59626b; --line: #dcdfe3;
  --good: #1f7a4d; --bad: #c22f2f; --warn: #8a5a00; --busy: #2b68c9; --idle: #7b858e; }
@media (prefers-color-scheme: dark) { :root { --paper: #16191c; --tint: #202529; --ink: #e6e9ec; --soft: #9ba5ae;
  --line: #353b41; --good: #4cc38a; --bad: #ff7b72; --warn: #e3b341; --busy: #79aefc; --idle: #7d8790; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1040px; padding: 32px 24px 64px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 15px; font-weight: 600; color: var(--soft); margin: 0 0 8px; overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 44px 0 10px; }
h3 { font-size: 15px; margin: 26px 0 6px; overflow-wrap: anywhere; }
p { margin: 6px 0; max-width: 76ch; }
.verdict { font-size: 22px; line-height: 1.35; font-weight: 600; max-width: 52ch; margin: 0 0 10px; padding-left: 14px;
  border-left: 5px solid var(--idle); }
.verdict.differs { border-color: var(--bad); } .verdict.same { border-color: var(--good); }
.soft, figcaption, caption { color: var(--soft); font-size: 13px; }
caption, figcaption { text-align: left; padding: 4px 0; }
figure { margin: 10px 0; }
.scroll, figure { overflow-x: auto; } figure > svg { min-width: 640px; }
.many { display: flex; flex-wrap: wrap; gap: 0 36px; } .many > div { min-width: 0; max-width: 100%; }
table { border-collapse: collapse; }
th, td { text-align: left; padding: 4px 10px; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; font-size: 13px; }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
ul { padding-left: 20px; margin: 6px 0; } li { margin: 6px 0; max-width: 80ch; }
.m td { text-align: center; padding: 3px 8px; border: 1px solid var(--paper); font-variant-numeric: tabular-nums;
  white-space: nowrap; }
.m th { max-width: 340px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.A { background: color-mix(in srgb, var(--good) 22%, var(--paper)); }
.R { background: color-mix(in srgb, var(--bad) 38%, var(--paper)); font-weight: 700; }
.E, .T, .F { background: color-mix(in srgb, var(--warn) 30%, var(--paper)); }
.M, .X { background: color-mix(in srgb, var(--idle) 45%, var(--paper)); }
.N { color: var(--soft); }
.R, .A, .E, .T, .F, .M, .X, .h, .bar > i { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
.h { background: color-mix(in srgb, var(--busy) calc(var(--v) * 70%), var(--paper)); text-align: center; }
.bar { display: inline-block; width: clamp(60px, 22vw, 220px); height: 10px; background: var(--tint);
  border: 1px solid var(--line); vertical-align: middle; }
.bar > i { display: block; height: 100%; background: var(--good); }
.sides { display: grid; grid-template-columns: repeat(auto-fit, minmax(260px, 1fr)); gap: 12px; margin: 8px 0 18px; }
.side { border: 1px solid var(--line); border-radius: 6px; padding: 8px 12px; min-width: 0; break-inside: avoid; }
.side > b { font-size: 13px; }
.said { white-space: pre-wrap; overflow-wrap: anywhere; margin: 6px 0; unicode-bidi: isolate; font-size: 14px; }
.prompt { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--tint); padding: 8px 12px;
  border-radius: 6px; unicode-bidi: isolate; }
ins { text-decoration: underline; text-decoration-thickness: 2px;
  background: color-mix(in srgb, var(--busy) 22%, transparent); }
del { color: var(--soft); background: color-mix(in srgb, var(--bad) 12%, transparent); }
pre { background: var(--tint); padding: 10px 14px; overflow-x: auto;
  font: 12.5px/1.45 ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; border-radius: 6px;
  white-space: pre-wrap; overflow-wrap: anywhere; }
summary { cursor: pointer; }
svg { width: 100%; height: auto; display: block; font: 12px system-ui, "DejaVu Sans", sans-serif; }
svg text { fill: var(--ink); } svg .label { text-anchor: end; } svg .tick { text-anchor: middle; fill: var(--soft); }
.grid { stroke: var(--line); } .axis, .interval, .whisker, .median { stroke: var(--ink); }
.interval { stroke-width: 2; } .median { stroke-width: 2.5; } .dot { fill: var(--ink); } .dot.apart {
  fill: var(--bad); }
.s-answer { fill: var(--good); } .s-refusal { fill: var(--bad); } .s-failed { fill: var(--idle); }
.cold { stroke: var(--busy); stroke-width: 2; stroke-dasharray: 3 2; }
.box-cold { fill: color-mix(in srgb, var(--busy) 45%, var(--paper)); } .box-warm {
  fill: color-mix(in srgb, var(--good) 45%, var(--paper)); }
nav { margin: 14px 0 0; font-size: 13px; } nav a { margin-right: 14px; } a { color: var(--busy); }
@media print { body { max-width: none; padding: 0; font-size: 10.5pt; } nav { display: none; } h2 {
  break-after: avoid; margin-top: 26px; }
  h3, caption { break-after: avoid; } tr, figure, li { break-inside: avoid; } .scroll { overflow: visible; } a {
  color: inherit; } }
@media print { :root { --paper: #fff; --tint: #f4f5f6; --ink: #1d2125; --soft: #59626b; --line: #dcdfe3;
  --good: #1f7a4d; --bad: #c22f2f; --warn: #8a5a00; --busy: #2b68c9; --idle: #7b858e; } }
]]
