// Draws the plugin's icon: node docs/icon.mjs writes .claude-plugin/icon.png, 512 by 512.
import { deflateSync } from 'node:zlib';
import { writeFileSync } from 'node:fs';

const SIZE = 512;
// Samples a pixel and direction: enough for smooth edges.
const SAMPLES = 4;

const mix = (from, to, share) => from.map((value, index) => value + (to[index] - value) * share);
const inRounded = (x, y, half, radius) => {
  const dx = Math.max(Math.abs(x) - half + radius, 0);
  const dy = Math.max(Math.abs(y) - half + radius, 0);
  return dx * dx + dy * dy <= radius * radius;
};
const nearSegment = (x, y, ax, ay, bx, by, width) => {
  const share = Math.min(1, Math.max(0, ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / ((bx - ax) ** 2 + (by - ay) ** 2)));
  return Math.hypot(x - ax - share * (bx - ax), y - ay - share * (by - ay)) <= width;
};
const inTriangle = (x, y, [a, b, c]) => {
  const side = (p, q) => (x - q[0]) * (p[1] - q[1]) - (p[0] - q[0]) * (y - q[1]);
  const sides = [side(a, b), side(b, c), side(c, a)];
  return sides.every((value) => value <= 0) || sides.every((value) => value >= 0);
};

// A ring open at the upper right, its end an arrow head; in it a tick.
const RING = 0.56;
const STROKE = 0.075;
const HEAD = -0.3;
const TAIL = -1.15;
const at = (angle, radius) => [radius * Math.cos(angle), radius * Math.sin(angle)];
const tip = at(HEAD - 0.06, RING);
const [tx, ty] = [Math.sin(HEAD), -Math.cos(HEAD)];
const arrow = [
  [tip[0] + tx * 0.24, tip[1] + ty * 0.24],
  at(HEAD, RING - 0.19),
  at(HEAD, RING + 0.19),
];

function colour(x, y) {
  if (!inRounded(x, y, 1, 0.44)) return [0, 0, 0, 0];
  const ground = mix([23, 32, 58], [36, 73, 150], (x + y + 2) / 4);
  if (nearSegment(x, y, -0.23, 0.02, -0.06, 0.19, 0.065) || nearSegment(x, y, -0.06, 0.19, 0.26, -0.17, 0.065)) {
    return [126, 231, 135, 255];
  }
  const angle = Math.atan2(y, x);
  const open = angle > TAIL && angle < HEAD;
  const onRing = Math.abs(Math.hypot(x, y) - RING) <= STROKE && !open;
  const [cx, cy] = at(TAIL, RING);
  if (onRing || Math.hypot(x - cx, y - cy) <= STROKE || inTriangle(x, y, arrow)) return [240, 246, 252, 255];
  return [...ground, 255];
}

const rows = Buffer.alloc(SIZE * (SIZE * 4 + 1));
for (let row = 0; row < SIZE; row++) {
  for (let column = 0; column < SIZE; column++) {
    const sum = [0, 0, 0, 0];
    for (let sample = 0; sample < SAMPLES * SAMPLES; sample++) {
      const x = ((column + ((sample % SAMPLES) + 0.5) / SAMPLES) / SIZE) * 2 - 1;
      const y = ((row + (Math.floor(sample / SAMPLES) + 0.5) / SAMPLES) / SIZE) * 2 - 1;
      const [red, green, blue, alpha] = colour(x, y);
      sum[0] += red * alpha;
      sum[1] += green * alpha;
      sum[2] += blue * alpha;
      sum[3] += alpha;
    }
    const place = row * (SIZE * 4 + 1) + 1 + column * 4;
    for (let index = 0; index < 3; index++) rows[place + index] = sum[3] ? Math.round(sum[index] / sum[3]) : 0;
    rows[place + 3] = Math.round(sum[3] / SAMPLES ** 2);
  }
}

const TABLE = Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value >>> 0;
});
const crc = (bytes) => {
  let value = 0xffffffff;
  for (const byte of bytes) value = TABLE[(value ^ byte) & 255] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
};
const chunk = (name, data) => {
  const body = Buffer.concat([Buffer.from(name), data]);
  const frame = Buffer.alloc(body.length + 8);
  frame.writeUInt32BE(data.length, 0);
  body.copy(frame, 4);
  frame.writeUInt32BE(crc(body), body.length + 4);
  return frame;
};
const header = Buffer.alloc(13);
header.writeUInt32BE(SIZE, 0);
header.writeUInt32BE(SIZE, 4);
header.set([8, 6, 0, 0, 0], 8);
writeFileSync(
  new URL('../.claude-plugin/icon.png', import.meta.url),
  Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(rows, { level: 9 })),
    chunk('IEND', Buffer.alloc(0)),
  ]),
);
