'use strict';

const test = require('node:test');
const assert = require('node:assert/strict');
const { daysBetween } = require('../src/dates');

test('days within one month', () => {
  assert.equal(daysBetween('2026-05-04', '2026-05-19'), 15);
});

test('days over the end of a long month', () => {
  assert.equal(daysBetween('2026-03-30', '2026-04-02'), 3);
});

test('days over the end of February', () => {
  assert.equal(daysBetween('2026-02-26', '2026-03-01'), 3);
  assert.equal(daysBetween('2028-02-26', '2028-03-01'), 4);
});

test('days over the end of a year', () => {
  assert.equal(daysBetween('2025-12-30', '2026-01-02'), 3);
});

test('an earlier date gives a negative number', () => {
  assert.equal(daysBetween('2026-05-19', '2026-05-04'), -15);
});

test('what is no date is refused', () => {
  assert.throws(() => daysBetween('yesterday', '2026-05-04'), RangeError);
});
