"""The fixed parts of the HTML sheet: what it may load, its marks and its style."""

from __future__ import annotations

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""Content security policy: the page loads nothing and runs nothing, whatever a caption may hold."""

MARKS = """<svg width="0" height="0" style="position:absolute" aria-hidden="true">
<symbol id="right" viewBox="0 0 24 24"><circle cx="12" cy="12" r="11"/><path d="M6.5 12.5l4 4 7-8.5"/></symbol>
<symbol id="wrong" viewBox="0 0 24 24"><circle cx="12" cy="12" r="11"/><path d="M7.5 7.5l9 9m0-9l-9 9"/></symbol>
</svg>"""

STYLE = """
:root { color-scheme: light dark; --ground: #ffffff; --panel: #f6f8fa; --ink: #1f2328; --soft: #59636e;
  --rule: #d1d9e0; --right: #1a7f37; --wrong: #cf222e; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #0d1117; --panel: #151b23; --ink: #f0f6fc; --soft: #9198a1;
    --rule: #3d444d; --right: #2ea043; --wrong: #f85149; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem; max-width: 90rem; background: var(--ground); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.6rem; line-height: 1.25; overflow-wrap: anywhere; }
header p { margin: .25rem 0 0; color: var(--soft); overflow-wrap: anywhere; }
.table { overflow-x: auto; margin: 1.5rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: .4rem; }
th, td { padding: .4rem .9rem; text-align: right; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th:first-child { text-align: left; }
thead th { background: var(--panel); }
tbody th { font-weight: 500; }
section { display: grid; grid-template-columns: 10rem 1fr; gap: 1.5rem; padding: 1.5rem 0;
  border-top: 1px solid var(--rule); }
figure { margin: 0; }
img { display: block; width: 100%; height: auto; aspect-ratio: 1; object-fit: contain; border-radius: .4rem; }
.sketch img { background: #ffffff; border: 1px solid var(--rule); }
h2 { margin: .5rem 0 0; font-size: 1rem; overflow-wrap: anywhere; }
.sketch p, .none { margin: 0; color: var(--soft); font-size: .875rem; }
ol { list-style: none; margin: 0; padding: 0; display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(7rem, 1fr)); align-content: start; }
.photo { display: block; position: relative; border-radius: .5rem; background: var(--panel); }
.right .photo { outline: 4px solid var(--right); }
.wrong .photo { outline: 4px solid var(--wrong); }
.mark { position: absolute; top: .35rem; right: .35rem; width: 1.5rem; height: 1.5rem; fill: none; stroke: #ffffff;
  stroke-width: 2.5; stroke-linecap: round; stroke-linejoin: round; }
.right .mark { fill: var(--right); }
.wrong .mark { fill: var(--wrong); }
li figcaption { margin-top: .5rem; color: var(--soft); font-size: .8125rem; font-variant-numeric: tabular-nums;
  overflow-wrap: anywhere; }
.rank { color: var(--ink); font-weight: 600; margin-right: .25rem; }
h2.part { margin: 2.5rem 0 .5rem; font-size: 1.25rem; }
p.text { max-width: 60rem; margin: .5rem 0; color: var(--soft); overflow-wrap: anywhere; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: .75rem 1.5rem;
  margin: 1rem 0 0; }
.facts dt { color: var(--soft); font-size: .8125rem; }
.facts dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
.plot { margin: 1.5rem 0; max-width: 46rem; }
.plot img { aspect-ratio: auto; background: #ffffff; border: 1px solid var(--rule); }
.plot figcaption { margin-top: .5rem; color: var(--soft); font-size: .875rem; }
@media (max-width: 40rem) {
  section { grid-template-columns: 1fr; }
  .sketch { display: flex; gap: 1rem; align-items: center; }
  .sketch img { width: 7rem; }
  ol { grid-template-columns: repeat(auto-fill, minmax(6rem, 1fr)); }
}
@media print { section { break-inside: avoid; } }
"""
