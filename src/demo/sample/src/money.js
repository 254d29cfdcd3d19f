'use strict';

// Writes cents as an amount: 1205 -> '12.05'.
function amount(cents) {
  const whole = Math.trunc(cents / 100);
  return `${whole}.${String(cents % 100).padStart(2, '0')}`;
}

module.exports = { amount };
