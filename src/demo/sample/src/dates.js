'use strict';

const DAY_MS = 24 * 60 * 60 * 1000;

// Counts days since 1970-01-01 for a date such as '2026-03-31'.
function dayNumber(text) {
  const match = /^(\d{4})-(\d{2})-(\d{2})$/.exec(text);
  if (!match) throw new RangeError(`not a date: ${text}`);
  const [year, month, day] = match.slice(1).map(Number);
  return Date.UTC(year, month, day) / DAY_MS;
}

// Days from one date to another; negative when the second is earlier.
function daysBetween(from, to) {
  return dayNumber(to) - dayNumber(from);
}

module.exports = { dayNumber, daysBetween };
