'use strict';

const { fineFor } = require('./fines');
const { amount } = require('./money');

// The text of a member's statement: a line for each loan with a fine, then the total.
function statement(member, loans) {
  const fines = loans.map((loan) => ({ title: loan.title, cents: fineFor(loan) })).filter((fine) => fine.cents > 0);
  const total = fines.reduce((sum, fine) => sum + fine.cents, 0);
  const lines = fines.map((fine) => `${fine.title}: ${amount(fine.cents)}`);
  return [`Statement for ${member}`, ...lines, `Total: ${amount(total)}`].join('\n');
}

module.exports = { statement };
