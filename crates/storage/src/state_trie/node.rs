//! A node of the trie and its bytes.
//!
//! Invariants: a part of a map with at most [`LEAF_ENTRIES_MAX`] entries is a leaf, any other a
//! branch; so each map has one form only, and its bytes are the same wherever they are made.

use super::{KeyHash, NodeHash};

/// Children of a branch: one for each value of a half byte.
pub(super) const BRANCH_WIDTH: usize = 16;

/// The most entries of a leaf. Most rooms have a state so small that it is one leaf.
pub(super) const LEAF_ENTRIES_MAX: usize = 24;

const LEAF: u8 = 1;
const BRANCH: u8 = 2;

/// Entries, or where to find them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// Few entries, ordered.
    Leaf(Vec<(KeyHash, u64)>),
    /// More entries.
    Branch {
        /// How many.
        count: u64,
        /// Where they are, by the next half byte of their names.
        children: Box<[NodeHash; BRANCH_WIDTH]>,
    },
}

impl Node {
    /// How many entries lie in or below it.
    pub(super) fn count(&self) -> u64 {
        match self {
            Self::Leaf(entries) => entries.len() as u64,
            Self::Branch { count, .. } => *count,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Leaf(entries) => {
                let mut bytes = Vec::with_capacity(1 + entries.len() * 21);
                bytes.push(LEAF);
                for (key, number) in entries {
                    bytes.extend_from_slice(&key.0);
                    put_number(*number, &mut bytes);
                }
                bytes
            }
            Self::Branch { count, children } => {
                let mut bytes = Vec::with_capacity(8 + BRANCH_WIDTH * 16);
                let mut present = 0_u16;
                for (slot, child) in children.iter().enumerate() {
                    present |= u16::from(*child != NodeHash::EMPTY) << slot;
                }
                bytes.push(BRANCH);
                bytes.extend_from_slice(&present.to_le_bytes());
                put_number(*count, &mut bytes);
                for child in children.iter().filter(|child| **child != NodeHash::EMPTY) {
                    bytes.extend_from_slice(&child.0);
                }
                bytes
            }
        }
    }

    /// `None` if the bytes are not those of a node.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, mut rest) = bytes.split_first()?;
        match *kind {
            LEAF => {
                let mut entries = Vec::with_capacity(LEAF_ENTRIES_MAX);
                while !rest.is_empty() {
                    let key = take_hash(&mut rest)?;
                    entries.push((KeyHash(key), take_number(&mut rest)?));
                }
                Some(Self::Leaf(entries))
            }
            BRANCH => {
                let (present, after) = rest.split_first_chunk::<2>()?;
                let present = u16::from_le_bytes(*present);
                rest = after;
                let count = take_number(&mut rest)?;
                let mut children = Box::new([NodeHash::EMPTY; BRANCH_WIDTH]);
                for (slot, child) in children.iter_mut().enumerate() {
                    if present & (1 << slot) != 0 {
                        *child = NodeHash(take_hash(&mut rest)?);
                    }
                }
                rest.is_empty().then_some(Self::Branch { count, children })
            }
            _ => None,
        }
    }
}

fn take_hash(rest: &mut &[u8]) -> Option<[u8; 16]> {
    let (hash, after) = rest.split_first_chunk::<16>()?;
    *rest = after;
    Some(*hash)
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn put_number(mut number: u64, bytes: &mut Vec<u8>) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}
