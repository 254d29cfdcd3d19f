//! Rebuilds the patches that models write into exact changes.
