//! The trie against an ordered map.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
};

use proptest::prelude::*;

use super::*;

/// Nodes in memory; counts what is loaded.
#[derive(Default)]
struct Nodes {
    bytes: BTreeMap<NodeHash, Vec<u8>>,
    loaded: usize,
}

impl Nodes {
    fn load(&mut self) -> impl FnMut(&[NodeHash]) -> Result<Vec<Vec<u8>>, Infallible> {
        |hashes| {
            self.loaded += hashes.len();
            Ok(hashes.iter().map(|hash| self.bytes[hash].clone()).collect())
        }
    }

    /// Keeps the new nodes; returns the root and how many bytes were new.
    fn keep(&mut self, changed: Changed) -> (NodeHash, usize) {
        let mut bytes = 0;
        for node in changed.new_nodes {
            assert_eq!(node.hash, NodeHash::of(&node.bytes));
            bytes += node.bytes.len();
            self.bytes.insert(node.hash, node.bytes);
        }
        (changed.root, bytes)
    }

    fn set(&mut self, root: NodeHash, key: KeyHash, number: Option<u64>) -> NodeHash {
        let changed = change(root, &BTreeMap::from([(key, number)]), &mut self.load()).unwrap();
        self.keep(changed).0
    }

    fn visited(&mut self, from: NodeHash, to: NodeHash) -> BTreeSet<NodeHash> {
        let mut visited = BTreeSet::new();
        visit_new(from, to, &mut self.load(), &mut |node| {
            visited.insert(node);
        })
        .unwrap();
        visited
    }

    fn whole(&mut self, map: &BTreeMap<KeyHash, u64>) -> NodeHash {
        let changes = map
            .iter()
            .map(|(key, number)| (*key, Some(*number)))
            .collect();
        let changed = change(NodeHash::EMPTY, &changes, &mut self.load()).unwrap();
        self.keep(changed).0
    }
}

/// Names of which many begin alike, so that branches grow deep.
fn key() -> impl Strategy<Value = KeyHash> {
    (0_u8..3, 0_u8..4, 0_u16..40).prop_map(|(depth, first, last)| {
        let mut hash = [0; 16];
        hash[usize::from(depth) * 3] = first << 4;
        hash[14..].copy_from_slice(&last.to_be_bytes());
        KeyHash(hash)
    })
}

fn steps() -> impl Strategy<Value = Vec<(KeyHash, Option<u64>)>> {
    let number = prop_oneof![3 => any::<u64>().prop_map(Some), 1 => Just(None)];
    prop::collection::vec((key(), number), 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..Default::default() })]

    #[test]
    fn it_is_a_map_with_one_form(steps in steps()) {
        let mut nodes = Nodes::default();
        let mut map = BTreeMap::new();
        let mut root = NodeHash::EMPTY;
        for (key, number) in &steps {
            root = nodes.set(root, *key, *number);
            match number {
                Some(number) => { map.insert(*key, *number); }
                None => { map.remove(key); }
            }
        }
        prop_assert_eq!(entries(root, &mut nodes.load()).unwrap(), map.clone().into_iter().collect::<Vec<_>>());
        prop_assert_eq!(count(root, &mut nodes.load()).unwrap(), map.len() as u64);
        prop_assert_eq!(root, nodes.whole(&map));
        // Another order, with a detour.
        let mut other = NodeHash::EMPTY;
        for (key, number) in map.iter().rev() {
            other = nodes.set(other, *key, Some(number ^ 1));
        }
        for (key, number) in &map {
            other = nodes.set(other, *key, Some(*number));
        }
        prop_assert_eq!(root, other);
        let keys: Vec<KeyHash> = steps.iter().map(|step| step.0).collect();
        prop_assert_eq!(&get_many(root, &keys, &mut nodes.load()).unwrap(), &map);
        for key in keys.into_iter().collect::<BTreeSet<_>>() {
            prop_assert_eq!(get(root, key, &mut nodes.load()).unwrap(), map.get(&key).copied());
            root = nodes.set(root, key, None);
        }
        prop_assert_eq!(root, NodeHash::EMPTY);
    }

    #[test]
    fn many_changes_are_like_one_after_another(before in steps(), changes in steps()) {
        let mut nodes = Nodes::default();
        let mut root = NodeHash::EMPTY;
        for (key, number) in before {
            root = nodes.set(root, key, number);
        }
        let changes: BTreeMap<_, _> = changes.into_iter().collect();
        let changed = change(root, &changes, &mut nodes.load()).unwrap();
        // Each new node is reached from the root.
        let new: BTreeSet<NodeHash> = changed.new_nodes.iter().map(|node| node.hash).collect();
        let at_once = nodes.keep(changed).0;
        prop_assert!(new.is_subset(&nodes.visited(NodeHash::EMPTY, at_once)));
        for (key, number) in changes {
            root = nodes.set(root, key, number);
        }
        prop_assert_eq!(root, at_once);
    }

    #[test]
    fn differences_are_those_of_maps(a in steps(), b in steps()) {
        let mut nodes = Nodes::default();
        let a: BTreeMap<_, _> = a.into_iter().filter_map(|(key, n)| Some((key, n?))).collect();
        let mut c = a.clone();
        c.extend(b.iter().filter_map(|(key, n)| Some((*key, (*n)?))).take(3));
        let b: BTreeMap<_, _> = b.into_iter().filter_map(|(key, n)| Some((key, n?))).collect();
        for (from, to) in [(&a, &b), (&a, &c), (&c, &a), (&a, &a), (&BTreeMap::new(), &b)] {
            let (from_root, to_root) = (nodes.whole(from), nodes.whole(to));
            let keys: BTreeSet<_> = from.keys().chain(to.keys()).collect();
            let expected: Vec<Difference> = keys
                .into_iter()
                .map(|key| Difference { key: *key, from: from.get(key).copied(), to: to.get(key).copied() })
                .filter(|difference| difference.from != difference.to)
                .collect();
            prop_assert_eq!(difference(from_root, to_root, &mut nodes.load()).unwrap(), expected);
        }
    }

    #[test]
    fn what_was_visited_before_need_not_be_visited(a in steps(), b in steps()) {
        let mut nodes = Nodes::default();
        let mut from = NodeHash::EMPTY;
        for (key, number) in a {
            from = nodes.set(from, key, number);
        }
        let mut to = from;
        for (key, number) in b {
            to = nodes.set(to, key, number);
        }
        let mut visited = nodes.visited(NodeHash::EMPTY, from);
        visited.extend(nodes.visited(from, to));
        prop_assert!(nodes.visited(NodeHash::EMPTY, to).is_subset(&visited));
    }

    #[test]
    fn damaged_bytes_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let mut load = |_: &[NodeHash]| Ok::<_, Infallible>(vec![bytes.clone()]);
        if let Err(error) = get(NodeHash([1; 16]), KeyHash([2; 16]), &mut load) {
            prop_assert_eq!(error, TrieError::Damaged([1; 16]));
        }
    }
}

#[test]
fn a_change_costs_few_bytes_in_rooms_of_every_size() {
    let mut nodes = Nodes::default();
    for (members, bytes_max) in [(100, 1024), (10_000, 1536), (100_000, 2048)] {
        let name =
            |member: u64| KeyHash::of("m.room.member", &format!("@user{member}:example.org"));
        // Numbers as engines give them: a room number above, a count below.
        let number = |member: u64| 7_000 << 20 | member;
        let map = (0..members)
            .map(|member| (name(member), number(member)))
            .collect();
        let mut root = nodes.whole(&map);
        let mut bytes = 0;
        let mut bytes_most = 0;
        let mut new_nodes = 0;
        const CHANGES: u64 = 200;
        nodes.loaded = 0;
        for step in 0..CHANGES {
            let member = if step.is_multiple_of(2) {
                members + step
            } else {
                step * 37 % members
            };
            let changed = insert(
                root,
                name(member),
                number(members + step),
                &mut nodes.load(),
            )
            .unwrap();
            new_nodes += changed.new_nodes.len();
            let (after, new) = nodes.keep(changed);
            bytes += new;
            bytes_most = bytes_most.max(new);
            root = after;
        }
        let mean = bytes as u64 / CHANGES;
        println!(
            "{members} members: {mean} bytes a state change (at most {bytes_most}), {:.1} nodes written, {:.1} read",
            new_nodes as f64 / CHANGES as f64,
            nodes.loaded as f64 / CHANGES as f64,
        );
        assert!(
            mean < bytes_max && bytes_most < 2048,
            "{members} members: {mean}, {bytes_most}"
        );
    }
}

#[test]
fn a_difference_loads_only_what_differs() {
    let mut nodes = Nodes::default();
    let map = (0..50_000)
        .map(|n| (KeyHash::of("m.room.member", &n.to_string()), n))
        .collect();
    let root = nodes.whole(&map);
    let other = nodes.set(root, KeyHash::of("m.room.topic", ""), Some(1));
    nodes.loaded = 0;
    assert_eq!(difference(root, other, &mut nodes.load()).unwrap().len(), 1);
    assert!(nodes.loaded <= 10, "{} nodes", nodes.loaded);
    nodes.loaded = 0;
    assert!(nodes.visited(root, other).len() <= 5);
    assert!(nodes.loaded <= 10, "{} nodes", nodes.loaded);
}
