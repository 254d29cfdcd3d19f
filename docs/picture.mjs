// Draws docs/demo.svg from a real run:  node docs/picture.mjs [PROGRAM]
//
// Runs the demo (of PROGRAM, or built for it), keeps the lines a reader needs (the plan is left out, which the picture
// says), and writes them as an SVG. The words are the program's own, but for shortened paths; the colours are the
// picture's.
import { spawnSync } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const COLUMNS = 100;
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = join(mkdtempSync(join(tmpdir(), "cloop-picture-")), "demo");
const program = process.argv[2] ? `'${process.argv[2]}'` : "cargo run --quiet --release --";
const run = spawnSync("sh", ["-c", `${program} demo "$1" 2>&1`, "sh", folder], {
  cwd: root,
  encoding: "utf8",
  maxBuffer: 1 << 26,
});
if (run.status !== 0) {
  process.stderr.write(run.stdout);
  process.exit(run.status ?? 1);
}

const all = run.stdout.replaceAll(folder, "/tmp/demo").replace(/^Codex: .*$/m, "Codex: codex").split("\n");
const from = all.findIndex((line) => line.startsWith("## Plan"));
const to = all.findIndex((line) => line.startsWith("Plan hash:"));
const end = all.findIndex((line) => line.startsWith("Next:"));
const shown = [
  "$ cargo run --release -- demo",
  ...all.slice(0, from),
  "    ⋮  (the plan)",
  ...all.slice(to + 1, end),
].filter((line, index, lines) => !/^    \S+ · iteration/.test(line) && !(line === "" && lines[index - 1] === ""));

function wrap(line) {
  const indent = /^(\[\d+\] )?/.exec(line)[0].replace(/./g, " ");
  const parts = [];
  for (let rest = line; ; ) {
    if (rest.length <= COLUMNS) return [...parts, rest];
    const cut = rest.lastIndexOf(" ", COLUMNS);
    parts.push(rest.slice(0, cut));
    rest = indent + rest.slice(cut + 1);
  }
}

function colour(line) {
  if (line.startsWith("$ ")) return "#e6edf3";
  if (/ refused, | restored |claim refuted/.test(line)) return "#ff7b72";
  if (/^goal-met|^landed|accepted$|proof: holds| better \(/.test(line)) return "#7ee787";
  if (/^## |^\[\d+\] iteration/.test(line)) return "#79c0ff";
  return /^    ⋮/.test(line) ? "#8b949e" : "#c9d1d9";
}

const escape = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
const lines = shown.flatMap((line) => wrap(line).map((part) => [part, colour(line)]));
while (lines.at(-1)[0] === "") lines.pop();
const [cell, step, margin] = [8.43, 19, 18];
const [width, height] = [Math.ceil(COLUMNS * cell) + 2 * margin, lines.length * step + 2 * margin];
const text = lines
  .map(([part, fill], row) =>
    part === ""
      ? ""
      : `<text x="${margin}" y="${margin + row * step + 14}" fill="${fill}" xml:space="preserve"` +
        ` textLength="${([...part].length * cell).toFixed(1)}" lengthAdjust="spacingAndGlyphs">${escape(part)}</text>\n`,
  )
  .join("");
writeFileSync(
  join(root, "docs", "demo.svg"),
  `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"` +
    ` font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="14">\n` +
    `<title>A run of the demo in a terminal</title>\n` +
    `<rect width="${width}" height="${height}" rx="8" fill="#0d1117"/>\n${text}</svg>\n`,
);
