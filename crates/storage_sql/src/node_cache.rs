//! State trie nodes that were read or written lately, shared by the writer and all readers.
//!
//! Nodes are named by their content, so an entry is right for ever. The cache is bounded in
//! bytes; what was not asked for during the last half of that leaves first.

use std::collections::HashMap;

use lyceum_storage::{StorageError, state_trie::NodeHash};
use parking_lot::Mutex;

use crate::sql::{Param, Sql};
use std::sync::Arc;

/// Bytes of nodes in one of the two halves.
const HALF_BYTES_MAX: usize = 2 << 20;
/// What an entry costs beside its node.
const ENTRY_BYTES: usize = 80;

#[derive(Debug, Default)]
struct Halves {
    young: HashMap<NodeHash, Arc<[u8]>>,
    old: HashMap<NodeHash, Arc<[u8]>>,
    young_bytes: usize,
}

/// The cache.
#[derive(Debug, Default)]
pub(crate) struct NodeCache(Mutex<Halves>);

impl NodeCache {
    pub(crate) fn put(&self, hash: NodeHash, node: Arc<[u8]>) {
        self.0.lock().put(hash, node);
    }

    /// The nodes of these names, in this order; `unsaved` are those of the running transaction.
    pub(crate) fn load(
        &self,
        sql: &mut dyn Sql,
        unsaved: &HashMap<NodeHash, Arc<[u8]>>,
        hashes: &[NodeHash],
    ) -> Result<Vec<Arc<[u8]>>, StorageError> {
        let mut found: HashMap<NodeHash, Arc<[u8]>> = HashMap::with_capacity(hashes.len());
        let mut missing = Vec::new();
        {
            let mut halves = self.0.lock();
            for hash in hashes {
                match unsaved.get(hash).cloned().or_else(|| halves.get(hash)) {
                    Some(node) => {
                        found.insert(*hash, node);
                    }
                    None => missing.push(*hash),
                }
            }
        }
        if !missing.is_empty() {
            let names: Vec<&[u8]> = missing.iter().map(|hash| &hash.0[..]).collect();
            let rows = sql.query(
                "SELECT hash, node FROM state_nodes WHERE hash IN (?1[x])",
                &[Param::Blobs(&names)],
            )?;
            for mut row in rows {
                let hash = NodeHash(row.take(0)?);
                let node: Vec<u8> = row.take(1)?;
                let node: Arc<[u8]> = node.into();
                self.put(hash, Arc::clone(&node));
                found.insert(hash, node);
            }
        }
        hashes
            .iter()
            .map(|hash| {
                found.get(hash).cloned().ok_or_else(|| {
                    StorageError::Broken("a node of a room's state is missing".to_owned())
                })
            })
            .collect()
    }
}

impl Halves {
    fn get(&mut self, hash: &NodeHash) -> Option<Arc<[u8]>> {
        if let Some(node) = self.young.get(hash) {
            return Some(Arc::clone(node));
        }
        let node = self.old.get(hash).cloned()?;
        self.put(*hash, Arc::clone(&node));
        Some(node)
    }

    fn put(&mut self, hash: NodeHash, node: Arc<[u8]>) {
        let bytes = node.len() + ENTRY_BYTES;
        if self.young.insert(hash, node).is_some() {
            return;
        }
        self.young_bytes += bytes;
        if self.young_bytes > HALF_BYTES_MAX {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }
}
