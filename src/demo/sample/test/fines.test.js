'use strict';

const test = require('node:test');
const assert = require('node:assert/strict');
const { charge, fineFor } = require('../src/fines');

test('the days of grace are free', () => {
  assert.equal(fineFor({ due: '2026-05-04', returned: '2026-05-06', rate: 25, price: 1800 }), 0);
});

test('each day after them costs the daily rate', () => {
  assert.equal(fineFor({ due: '2026-05-04', returned: '2026-05-10', rate: 25, price: 1800 }), 100);
});

test('a loan over the end of a month counts its real days', () => {
  assert.equal(fineFor({ due: '2026-04-28', returned: '2026-05-04', rate: 25, price: 1800 }), 100);
  assert.equal(fineFor({ due: '2026-03-28', returned: '2026-04-04', rate: 25, price: 1800 }), 125);
});

test('a fine never exceeds the price of the book', () => {
  assert.equal(charge(90, 25, 1800), 1800);
  assert.equal(charge(3, 25, 40), 40);
});

test('a book that is not late costs nothing', () => {
  assert.equal(fineFor({ due: '2026-05-04', returned: '2026-05-01', rate: 25, price: 1800 }), 0);
});
