//! The rules that refuse a proposal whatever its score.
