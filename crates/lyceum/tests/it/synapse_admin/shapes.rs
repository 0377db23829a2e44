//! The shapes of all answers.

use std::collections::BTreeSet;

use super::{ENDPOINTS, Scene, table};

#[test]
fn every_endpoint_answers_in_synapses_shape() {
    let asked: BTreeSet<&str> = table::check(&Scene::start(), include_str!("shapes.txt"))
        .into_iter()
        .collect();
    let unasked: Vec<&str> = ENDPOINTS
        .lines()
        .filter(|line| !asked.contains(line))
        .collect();
    assert_eq!(unasked, Vec::<&str>::new(), "no shape in shapes.txt");
}
