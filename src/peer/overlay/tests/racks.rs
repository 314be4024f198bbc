//! Racks: edges stay within them where there is a choice.

use super::world::World;
use super::{check_budgets, forest};
use crate::overlay::node::Rack;
use crate::overlay::{NodeId, Parent};

fn cross_rack_edges(world: &World, rack_of: impl Fn(u32) -> Option<Rack>) -> usize {
    let parents = |&id: &u32| world.forest.parents(NodeId(id)).map(move |p| (id, p));
    let edges = world.alive.iter().flat_map(parents);
    edges.filter(|(id, p)| matches!(p, Parent::Node(p) if rack_of(p.0) != rack_of(*id))).count()
}

#[test]
fn racks_keep_edges_within_them() {
    type RackOf = fn(u32) -> Option<Rack>;
    let orders: [(&str, RackOf); 3] = [
        ("in turn", |id| Rack::new(1 + id % 4)),
        ("one by one", |id| Rack::new(1 + id / 16)),
        ("mixed", |id| Rack::new(1 + id * 37 % 64 / 16)),
    ];
    for (order, rack_of) in orders {
        let mut plain = World::new(forest(4, 1), order);
        let mut racked = World::new(forest(4, 1), order);
        let mut changes = 0;
        for id in 0..64 {
            plain.join(None);
            racked.join(rack_of(id));
            changes += racked.follow();
            racked.check();
        }
        let without = cross_rack_edges(&plain, rack_of);
        let with = cross_rack_edges(&racked, rack_of);
        assert!(with * 2 < without, "{order}: {with} of {without}");
        assert!(changes < 64 * 4 * 3, "{order}: {changes} changes");
        check_budgets(&racked.forest, order);
        assert!(racked.forest.stats().levels <= 3 + 2);
    }
}
