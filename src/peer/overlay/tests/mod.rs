//! The forest as the master uses it: by subject, and at random.
//!
//! Random tests draw from a fixed seed, so that a run can be repeated;
//! `PROPTEST_RNG_SEED` and `PROPTEST_CASES` choose others.

mod blame;
mod join;
mod leave;
mod racks;
mod random;
mod slow;
mod streams;
mod world;

use super::node::Upstream;
use super::{Forest, Limits, NodeId};
use proptest::test_runner::{Config, RngSeed};

/// Random cases, the same ones each time unless the environment says otherwise.
pub(super) fn cases(count: u32) -> Config {
    let mut config = Config::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = count;
    }
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(8);
    }
    config
}

/// A forest whose nodes have one copy of the data to give.
fn forest(stripes: u8, head_copies: u16) -> Forest {
    Forest::new(Limits { stripes, slots: u16::from(stripes), head_copies })
}

fn joined(stripes: u8, head_copies: u16, count: u32) -> Forest {
    let mut forest = forest(stripes, head_copies);
    (0..count).for_each(|id| assert!(forest.join_one(NodeId(id), None, 0)));
    forest
}

fn drain(forest: &mut Forest) -> usize {
    core::iter::from_fn(|| forest.poll_change()).count()
}

/// ceil(log_k n), and 1 at least.
fn log_ceil(base: u64, n: u64) -> u32 {
    let (mut levels, mut reach) = (1, base.max(2));
    while reach < n {
        reach *= base.max(2);
        levels += 1;
    }
    levels
}

/// Everything that holds after every call.
fn check(forest: &Forest) {
    let trees = forest.trees();
    trees.check_consistency();
    for ix in trees.roster().iter() {
        let node = trees.node(ix);
        for stripe in trees.stripes() {
            let link = trees.link(ix, stripe);
            let is_retired = node.standing.retired;
            assert_eq!(link.parent.is_none(), is_retired, "{:?} has a parent", node.id);
            assert!(link.level > 0, "{:?} is attached, or was", node.id);
            // Levels rise by one each from the master's children on.
            assert!(link.parent != Some(Upstream::Node(ix)), "{:?} feeds itself", node.id);
        }
        if !node.standing.retired && !node.standing.serves() {
            assert!(node.children.is_empty(), "{:?} feeds others", node.id);
        }
    }
}

/// Nobody has more children than slots, nor the master more than it should.
fn check_budgets(forest: &Forest, note: &str) {
    let stats = forest.stats();
    assert_eq!(stats.overcommitted, 0, "{note}: overcommitted");
    for stripe in forest.trees().stripes() {
        let copies = forest.trees().master_load(stripe);
        let most = forest.limits().head_copies;
        assert!(copies <= most, "{note}: {copies} copies of stripe {stripe}");
    }
}
