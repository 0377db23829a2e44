//! The rules about accounts, tested from outside.
