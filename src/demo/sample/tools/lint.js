'use strict';

// The house rules, as far as a machine can check them.

const fs = require('node:fs');
const path = require('node:path');

const root = path.join(__dirname, '..');
const rules = [
  { name: 'no-console', folders: ['src'], pattern: /\bconsole\./, message: 'modules do not print' },
  { name: 'no-var', folders: ['src', 'test'], pattern: /^\s*var\s/, message: 'use const or let' },
  { name: 'no-trailing-space', folders: ['src', 'test'], pattern: /\s+$/, message: 'trailing white space' },
  { name: 'max-len', folders: ['src', 'test'], pattern: /^.{121,}$/, message: 'longer than 120 characters' },
];

let errors = 0;
for (const folder of ['src', 'test']) {
  for (const name of fs.readdirSync(path.join(root, folder)).sort()) {
    const lines = fs.readFileSync(path.join(root, folder, name), 'utf8').split('\n');
    lines.forEach((line, index) => {
      for (const rule of rules) {
        if (rule.folders.includes(folder) && rule.pattern.test(line)) {
          console.log(`${folder}/${name}:${index + 1}: error: ${rule.message} (${rule.name})`);
          errors += 1;
        }
      }
    });
  }
}
console.log(errors === 0 ? 'no problems' : `${errors} problem${errors === 1 ? '' : 's'}`);
process.exitCode = errors === 0 ? 0 : 1;
