'use strict';

const test = require('node:test');
const assert = require('node:assert/strict');
const { statement } = require('../src/statement');

test('a statement without late books', () => {
  assert.equal(statement('Ada', []), 'Statement for Ada\nTotal: 0.00');
});

test('a statement lists late books and their sum', () => {
  const loans = [
    { title: 'Sea Charts', due: '2026-01-29', returned: '2026-02-06', rate: 30, price: 2400 },
    { title: 'A Pamphlet', due: '2026-05-01', returned: '2026-05-29', rate: 20, price: 150 },
    { title: 'In Time', due: '2026-05-01', returned: '2026-05-01', rate: 20, price: 900 },
  ];
  assert.equal(statement('Ada', loans), 'Statement for Ada\nSea Charts: 1.80\nA Pamphlet: 1.50\nTotal: 3.30');
});
