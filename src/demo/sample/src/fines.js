'use strict';

const { daysBetween } = require('./dates');

const GRACE_DAYS = 2;

// Cents owed for a number of chargeable days.
function charge(days, rate, price) {
  return days * Math.min(rate, price);
}

// Cents owed for one loan: { due, returned, rate, price }.
function fineFor(loan) {
  const late = daysBetween(loan.due, loan.returned) - GRACE_DAYS;
  return late > 0 ? charge(late, loan.rate, loan.price) : 0;
}

module.exports = { GRACE_DAYS, charge, fineFor };
