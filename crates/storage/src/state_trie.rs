//! Room states as a persistent hash trie (design, section 4): maps from state keys to event
//! numbers that share what they have in common.
//!
//! A node is named by the hash of its bytes; a map is named by its root. Invariants: equal maps
//! have equal roots, whatever their history; a change of one entry makes O(log n) nodes; a
//! comparison walks only what differs. It is pure: nodes are loaded by a function that the caller
//! gives, and new nodes are handed back to be kept. Nothing here knows events, rooms or tables.

mod node;

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use node::{BRANCH_WIDTH, LEAF_ENTRIES_MAX, Node};

/// The most nodes that are asked for at once.
pub const LOAD_NODES_MAX: usize = 256;

/// The name of an entry: 128 bits of the SHA-256 of its event type and state key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub [u8; 16]);

impl KeyHash {
    /// The name of the state `kind` with `key`.
    pub fn of(kind: &str, key: &str) -> Self {
        let mut hasher = Sha256::new();
        hasher.update((kind.len() as u64).to_le_bytes());
        hasher.update(kind);
        hasher.update(key);
        Self(first_half(&hasher.finalize().into()))
    }

    /// The child to follow at `depth`: the `depth`th half byte.
    fn slot(&self, depth: usize) -> usize {
        let byte = self.0[depth / 2];
        usize::from(if depth.is_multiple_of(2) {
            byte >> 4
        } else {
            byte & 15
        })
    }
}

/// The name of a node, and by its root the name of a map: 128 bits of the SHA-256 of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeHash(pub [u8; 16]);

impl NodeHash {
    /// The root of the empty map; there is no node of that name.
    pub const EMPTY: Self = Self([0; 16]);

    /// The name of a node with these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(first_half(&Sha256::digest(bytes).into()))
    }
}

fn first_half(hash: &[u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&hash[..16]);
    half
}

/// A node to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNode {
    /// Its name.
    pub hash: NodeHash,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A map after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Its root.
    pub root: NodeHash,
    /// Nodes that the map before did not have, children before their parents. Some may be known
    /// from other maps.
    pub new_nodes: Vec<NewNode>,
}

/// An entry in which two maps differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    /// Its name.
    pub key: KeyHash,
    /// Its number in the first map.
    pub from: Option<u64>,
    /// Its number in the second map.
    pub to: Option<u64>,
}

/// Why a map could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrieError<E> {
    /// A node could not be loaded.
    #[error(transparent)]
    Load(#[from] E),
    /// A loaded node is not what its name says.
    #[error("a node of a room state is damaged: {0:02x?}")]
    Damaged([u8; 16]),
}

/// The number of an entry.
pub fn get<N: AsRef<[u8]>, E>(
    root: NodeHash,
    key: KeyHash,
    load: &mut impl FnMut(&[NodeHash]) -> Result<Vec<N>, E>,
) -> Result<Option<u64>, TrieError<E>> {
    Ok(get_many(root, &[key], load)?.get(&key).copied())
}

/// Those of the entries that are there.
pub fn get_many<N: AsRef<[u8]>, E>(
    root: NodeHash,
    keys: &[KeyHash],
    load: &mut impl FnMut(&[NodeHash]) -> Result<Vec<N>, E>,
) -> Result<BTreeMap<KeyHash, u64>, TrieError<E>> {
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    keys.dedup();
    let mut found = BTreeMap::new();
    let mut level = Vec::new();
    if root != NodeHash::EMPTY && !keys.is_empty() {
        level.push((root, keys));
    }
    let mut depth = 0;
    while !level.is_empty() {
        let hashes: Vec<NodeHash> = level.iter().map(|(hash, _)| *hash).collect();
        let nodes = load_nodes(&hashes, load)?;
        let mut below = Vec::new();
        for ((_, keys), node) in level.into_iter().zip(nodes) {
            match node {
                Node::Leaf(entries) => {
                    for key in keys {
                        if let Ok(index) = entries.binary_search_by_key(&key, |entry| entry.0) {
                            found.insert(key, entries[index].1);
                        }
                    }
                }
                Node::Branch { children, .. } => {
                    for group in keys.chunk_by(|a, b| a.slot(depth) == b.slot(depth)) {
                        let child = children[group[0].slot(depth)];
                        if child != NodeHash::EMPTY {
                            below.push((child, group.to_vec()));
                        }
                    }
                }
            }
        }
        level = below;
        depth += 1;
    }
    Ok(found)
}

/// How many entries a map has.
pub fn count<N: AsRef<[u8]>, E>(
    root: NodeHash,
    load: &mut impl FnMut(&[NodeHash]) -> Result<Vec<N>, E>,
) -> Result<u64, TrieError<E>> {
    if root == NodeHash::EMPTY {
        return Ok(0);
    }
    let nodes = load_nodes(&[root], load)?;
    Ok(nodes.first().map_or(0, Node::count))
}

/// All entries, ordered by name.
pub fn entries<N: AsRef<[u8]>, E>(
    root: NodeHash,
    load: &mut impl FnMut(&[NodeHash]) -> Result<Vec<N>, E>,
) -> Result<Vec<(KeyHash, u64)>, TrieError<E>> {
    let mut all = Vec::new();
    let mut level = Vec::new();
    if root != NodeHash::EMPTY {
        level.push(root);
    }
    while !level.is_empty() {
        let mut below = Vec::new();
        for node in load_nodes(&level, load)? {
            match node {
                Node::Leaf(entries) => all.extend(entries),
                Node::Branch { children, .. } => {
                    below.extend(
                        children
                            .into_iter()
                            .filter(|child| *child != NodeHash::EMPTY),
                    );
                }
            }
        }
        level = below;
    }
    all.sort_unstable();
    Ok(all)
}

/// The entries in which two maps differ, ordered by name; only what differs is loaded.
pub fn difference<N: AsRef<[u8]>, E>(
    from: NodeHash,
    to: NodeHash,
    load: &mut impl FnMut(&[NodeHash]) -> Result<Vec<N>, E>,
) -> Result<Vec<Difference>, TrieError<E>> {
    let mut found: BTreeMap<KeyHash, (Option<u64>, Option<u64>)> = BTreeMap::new();
    let mut level = vec![(from, to)];
    level.retain(|(from, to)| from != to);
    while !level.is_empty() {
        let hashes: Vec<NodeHash> = level
            .iter()
            .flat_map(|(from, to)| [*from, *to])
            .filter(|hash| *hash != NodeHash::EMPTY)
            .collect();
        let mut nodes = load_nodes(&hashes, load)?.into_iter();
        let mut next = |hash: NodeHash| {
            let node = if hash == NodeHash::EMPTY {
                None
            } else {
                nodes.next()
            };
            node.unwrap_or(Node::Leaf(Vec::new()))
        };
        let mut below = Vec::new();
        for (from, to) in level {
            let (from, to) = (next(from), next(to));
            let mut pairs = [(NodeHash::EMPTY, NodeHash::EMPTY); BRANCH_WIDTH];
            match from {
                Node::Leaf(entries) => {
                    for (key, number) in entries {
                        found.entry(key).or_default().0 = Some(number);
                    }
                }
                Node::Branch { children, .. } => {
                    pairs
                        .iter_mut()
                        .zip(*children)
                        .for_each(|(pair, child)| pair.0 = child);
                }
            }
            match to {
                Node::Leaf(entries) => {
                    for (key, number) in entries {
                        found.entry(key).or_default().1 = Some(number);
                    }
                }
                Node::Branch { children, .. } => {
                    pairs
                        .iter_mut()
                        .zip(*children)
                        .for_each(|(pair, child)| pair.1 = child);
                }
            }
            below.extend(pairs.into_iter().filter(|(from, to)| from != to));
        }
        level = below;
    }
    Ok(found
        .into_iter()
        .filter(|(_, (from, to))| from != to)
        .map(|(key, (from, to))| Difference { key, from, to })
        .collect())
}

/// Visits every node of `to` that does not lie at the same place in `from`, parents before their
/// children. Who has visited all nodes of `from` has then visited all of `to`.
pub fn visit_new<N: AsRef<[u8]>, E>(
    from: NodeHash,
    to: NodeHash,
    load: &mut impl FnMut(&[NodeHash]) -> Result<Vec<N>, E>,
    visit: &mut impl FnMut(NodeHash),
) -> Result<(), TrieError<E>> {
    // What lies at a place in `from` (it may be nothing) and in `to`.
    let mut level = vec![(from, to)];
    loop {
        level.retain(|(from, to)| from != to && *to != NodeHash::EMPTY);
        if level.is_empty() {
            return Ok(());
        }
        let hashes: Vec<NodeHash> = level
            .iter()
            .flat_map(|(from, to)| [*from, *to])
            .filter(|hash| *hash != NodeHash::EMPTY)
            .collect();
        let mut nodes = load_nodes(&hashes, load)?.into_iter();
        let mut below = Vec::new();
        for (from, to) in level {
            visit(to);
            let from = if from == NodeHash::EMPTY {
                None
            } else {
                nodes.next()
            };
            let from = match from {
                Some(Node::Branch { children, .. }) => children,
                Some(Node::Leaf(_)) | None => Box::new([NodeHash::EMPTY; BRANCH_WIDTH]),
            };
            if let Some(Node::Branch { children, .. }) = nodes.next() {
                below.extend(from.into_iter().zip(*children));
            }
        }
        level = below;
    }
}

/// Sets an entry to a number.
pub fn insert<N: AsRef<[u8]>, E>(
    root: NodeHash,
    key: KeyHash,
    number: u64,
    load: &mut impl FnMut(&[NodeHash]) -> Result<Vec<N>, E>,
) -> Result<Changed, TrieError<E>> {
    change(root, &BTreeMap::from([(key, Some(number))]), load)
}

/// Takes an entry away.
pub fn remove<N: AsRef<[u8]>, E>(
    root: NodeHash,
    key: KeyHash,
    load: &mut impl FnMut(&[NodeHash]) -> Result<Vec<N>, E>,
) -> Result<Changed, TrieError<E>> {
    change(root, &BTreeMap::from([(key, None)]), load)
}

/// Sets (`Some`) or takes away (`None`) any number of entries at once, without the nodes that lie
/// between.
pub fn change<N: AsRef<[u8]>, E>(
    root: NodeHash,
    changes: &BTreeMap<KeyHash, Option<u64>>,
    load: &mut impl FnMut(&[NodeHash]) -> Result<Vec<N>, E>,
) -> Result<Changed, TrieError<E>> {
    let changes: Vec<(KeyHash, Option<u64>)> = changes
        .iter()
        .map(|(key, number)| (*key, *number))
        .collect();
    let mut new_nodes = Vec::new();
    let node = if root == NodeHash::EMPTY {
        Node::Leaf(Vec::new())
    } else {
        load_nodes(&[root], load)?
            .pop()
            .ok_or(TrieError::Damaged(root.0))?
    };
    let root = match change_node(node, 0, &changes, &mut new_nodes, load)? {
        None => root,
        Some(Subtree::Leaf(entries)) => keep_leaf(entries, &mut new_nodes),
        Some(Subtree::Branch(hash, _)) => hash,
    };
    Ok(Changed { root, new_nodes })
}

/// A part of a map that was changed. A leaf is not kept before it is known that its parent
/// stays a branch.
enum Subtree {
    Leaf(Vec<(KeyHash, u64)>),
    Branch(NodeHash, u64),
}

impl Subtree {
    fn count(&self) -> u64 {
        match self {
            Self::Leaf(entries) => entries.len() as u64,
            Self::Branch(_, count) => *count,
        }
    }
}

/// `node` with the changes; `None` if they change nothing.
fn change_node<N: AsRef<[u8]>, E>(
    node: Node,
    depth: usize,
    changes: &[(KeyHash, Option<u64>)],
    new_nodes: &mut Vec<NewNode>,
    load: &mut impl FnMut(&[NodeHash]) -> Result<Vec<N>, E>,
) -> Result<Option<Subtree>, TrieError<E>> {
    let (count, mut children) = match node {
        Node::Leaf(before) => {
            let after = merge(&before, changes);
            return Ok((after != before).then(|| build(after, depth, new_nodes)));
        }
        Node::Branch { count, children } => (count, children),
    };
    let groups: Vec<&[(KeyHash, Option<u64>)]> = changes
        .chunk_by(|a, b| a.0.slot(depth) == b.0.slot(depth))
        .collect();
    let hashes: Vec<NodeHash> = groups
        .iter()
        .map(|group| children[group[0].0.slot(depth)])
        .filter(|child| *child != NodeHash::EMPTY)
        .collect();
    let mut nodes = load_nodes(&hashes, load)?.into_iter();

    let mut count_after = count;
    let mut subtrees: [Option<Subtree>; BRANCH_WIDTH] = [const { None }; BRANCH_WIDTH];
    for group in groups {
        let slot = group[0].0.slot(depth);
        let child = if children[slot] == NodeHash::EMPTY {
            None
        } else {
            nodes.next()
        };
        let child = child.unwrap_or(Node::Leaf(Vec::new()));
        let count_before = child.count();
        if let Some(subtree) = change_node(child, depth + 1, group, new_nodes, load)? {
            count_after = count_after + subtree.count() - count_before;
            subtrees[slot] = Some(subtree);
        }
    }
    if subtrees.iter().all(Option::is_none) {
        return Ok(None);
    }

    if count_after <= LEAF_ENTRIES_MAX as u64 {
        // So few entries lie in leaves only: those that changed are at hand.
        let mut entries = Vec::new();
        let mut unchanged = Vec::new();
        for (subtree, child) in subtrees.into_iter().zip(*children) {
            match subtree {
                Some(Subtree::Leaf(changed)) => entries.extend(changed),
                Some(Subtree::Branch(hash, _)) => return Err(TrieError::Damaged(hash.0)),
                None if child != NodeHash::EMPTY => unchanged.push(child),
                None => {}
            }
        }
        for (hash, node) in unchanged.iter().zip(load_nodes(&unchanged, load)?) {
            match node {
                Node::Leaf(kept) => entries.extend(kept),
                Node::Branch { .. } => return Err(TrieError::Damaged(hash.0)),
            }
        }
        entries.sort_unstable();
        return Ok(Some(Subtree::Leaf(entries)));
    }

    for (child, subtree) in children.iter_mut().zip(subtrees) {
        match subtree {
            Some(Subtree::Leaf(entries)) => *child = keep_leaf(entries, new_nodes),
            Some(Subtree::Branch(hash, _)) => *child = hash,
            None => {}
        }
    }
    Ok(Some(Subtree::Branch(
        keep(
            &Node::Branch {
                count: count_after,
                children,
            },
            new_nodes,
        ),
        count_after,
    )))
}

/// The entries (ordered) with the changes (ordered).
fn merge(before: &[(KeyHash, u64)], changes: &[(KeyHash, Option<u64>)]) -> Vec<(KeyHash, u64)> {
    let mut after = Vec::with_capacity(before.len() + changes.len());
    let mut kept = before.iter().copied().peekable();
    for (key, number) in changes {
        while let Some(entry) = kept.next_if(|entry| entry.0 < *key) {
            after.push(entry);
        }
        kept.next_if(|entry| entry.0 == *key);
        after.extend(number.map(|number| (*key, number)));
    }
    after.extend(kept);
    after
}

/// The one form in which these entries (ordered) are kept at `depth`.
fn build(entries: Vec<(KeyHash, u64)>, depth: usize, new_nodes: &mut Vec<NewNode>) -> Subtree {
    if entries.len() <= LEAF_ENTRIES_MAX {
        return Subtree::Leaf(entries);
    }
    let mut children = Box::new([NodeHash::EMPTY; BRANCH_WIDTH]);
    for group in entries.chunk_by(|a, b| a.0.slot(depth) == b.0.slot(depth)) {
        children[group[0].0.slot(depth)] = match build(group.to_vec(), depth + 1, new_nodes) {
            Subtree::Leaf(entries) => keep_leaf(entries, new_nodes),
            Subtree::Branch(hash, _) => hash,
        };
    }
    let count = entries.len() as u64;
    Subtree::Branch(keep(&Node::Branch { count, children }, new_nodes), count)
}

fn keep_leaf(entries: Vec<(KeyHash, u64)>, new_nodes: &mut Vec<NewNode>) -> NodeHash {
    if entries.is_empty() {
        return NodeHash::EMPTY;
    }
    keep(&Node::Leaf(entries), new_nodes)
}

fn keep(node: &Node, new_nodes: &mut Vec<NewNode>) -> NodeHash {
    let bytes = node.encode();
    let hash = NodeHash::of(&bytes);
    new_nodes.push(NewNode { hash, bytes });
    hash
}

/// The nodes of these names, asked for in bounded portions.
fn load_nodes<N: AsRef<[u8]>, E>(
    hashes: &[NodeHash],
    load: &mut impl FnMut(&[NodeHash]) -> Result<Vec<N>, E>,
) -> Result<Vec<Node>, TrieError<E>> {
    let mut nodes = Vec::with_capacity(hashes.len());
    for portion in hashes.chunks(LOAD_NODES_MAX) {
        let loaded = load(portion)?;
        for (index, hash) in portion.iter().enumerate() {
            let node = loaded
                .get(index)
                .and_then(|bytes| Node::decode(bytes.as_ref()));
            nodes.push(node.ok_or(TrieError::Damaged(hash.0))?);
        }
    }
    Ok(nodes)
}

#[cfg(test)]
mod tests;
