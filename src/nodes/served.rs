//! Which directories of the served tree a node's line stands for: its image, and its layers
//! in the order of application.
//!
//! The one rule for who tells a node (the master) and who shows what it would be told
//! (`xgetctl`). Refuses to know how it is looked whether a directory is there.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Where images are.
pub const IMAGES: &str = "images";
/// Where layers are.
pub const LAYERS: &str = "layers";
/// Where what was made of templates is: a layer for each node.
pub const RENDERED: &str = "layers/.rendered";

/// The layers of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layers {
    /// In the order of application: its own is the last.
    pub plain: Vec<String>,
    /// What was made for it of their templates, over all of them.
    pub rendered: Option<String>,
}

/// The path of the directory that a name stands for: `x` is `BELOW/x` where that is one, else
/// `x`, and nothing is the served directory itself. The path is plain: a name that leads
/// upwards is none.
pub fn directory(below: &str, name: &str, is_dir: &dyn Fn(&str) -> bool) -> Option<String> {
    let names: Vec<&str> = name.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    if names.contains(&"..") {
        return None;
    }
    let path = names.join("/");
    if path.is_empty() {
        return is_dir(".").then(|| ".".to_string());
    }
    [format!("{below}/{path}"), path].into_iter().find(|path| is_dir(path))
}

impl Layers {
    /// Those that a line names for the node with this name, and those that are its own.
    ///
    /// # Errors
    /// The name that stands for no directory.
    pub fn of<'a>(
        named: &[&'a str],
        node: Option<&str>,
        is_dir: &dyn Fn(&str) -> bool,
    ) -> Result<Layers, &'a str> {
        let mut layers = Layers::default();
        for name in named {
            layers.plain.push(directory(LAYERS, name, is_dir).ok_or(*name)?);
        }
        // Wherever a line names them, they come last.
        let mut own = |above: &str| {
            let own = format!("{above}/{}", node?);
            layers.plain.retain(|layer| *layer != own);
            is_dir(&own).then_some(own)
        };
        let (last, rendered) = (own(LAYERS), own(RENDERED));
        layers.plain.extend(last);
        Ok(Layers { rendered, ..layers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(name: &str, dirs: &[&str]) -> Option<String> {
        directory("images", name, &|path| dirs.contains(&path))
    }

    #[test]
    fn a_name_is_a_directory_of_its_kind_or_else_a_path() {
        let dirs = [".", "images/a", "a", "images/b/c", "d", "images"];
        for (name, path) in [
            ("a", Some("images/a")),
            ("/a/", Some("images/a")),
            ("./././a", Some("images/a")),
            ("b//c", Some("images/b/c")),
            ("images/b/c", Some("images/b/c")),
            ("d", Some("d")),
            ("", Some(".")),
            ("/.", Some(".")),
            ("e", None),
            ("../d", None),
            ("images/../d", None),
            ("..", None),
        ] {
            assert_eq!(found(name, &dirs).as_deref(), path, "{name}");
        }
        assert_eq!(found("", &[]), None);
    }

    #[test]
    fn its_own_layer_is_the_last_wherever_the_line_has_it() {
        let dirs = ["layers/all", "layers/n1", "layers/.rendered/n1", "gpu"];
        let of = |named: &[&'static str], node| {
            Layers::of(named, node, &|path| dirs.contains(&path))
                .map(|layers| (layers.plain.join(" "), layers.rendered))
        };
        let rendered = Some("layers/.rendered/n1".to_string());
        let all = Ok(("layers/all gpu layers/n1".to_string(), rendered));
        assert_eq!(of(&["all", "gpu"], Some("n1")), all);
        assert_eq!(of(&["n1", "layers/all", ".rendered/n1", "gpu"], Some("n1")), all);
        assert_eq!(of(&["n1", "all"], None), Ok(("layers/n1 layers/all".to_string(), None)));
        assert_eq!(of(&["all"], Some("n2")), Ok(("layers/all".to_string(), None)));
        assert_eq!(of(&["all", "none", "gpu"], Some("n1")), Err("none"));
        assert_eq!(of(&["all", "../gpu"], Some("n1")), Err("../gpu"));
    }

    proptest! {
        #[test]
        fn whatever_is_named_layers_are_plain_and_there_and_in_order(
            named in prop::collection::vec("[a./]{0,6}|n|layers/n|layers/[.]rendered/n|[.]rendered/n", 0..6),
            is_own in any::<bool>(), is_rendered in any::<bool>(),
        ) {
            let is_dir = |path: &str| match path {
                "layers/n" => is_own,
                "layers/.rendered/n" => is_rendered,
                _ => !path.len().is_multiple_of(3),
            };
            let named: Vec<&str> = named.iter().map(|name| &**name).collect();
            let Ok(layers) = Layers::of(&named, Some("n"), &is_dir) else { return Ok(()) };
            let Layers { plain, rendered } = layers;
            let (own, made) = ("layers/n".to_string(), "layers/.rendered/n".to_string());
            prop_assert_eq!(plain.iter().filter(|layer| **layer == own).count(), usize::from(is_own));
            prop_assert_eq!(plain.last() == Some(&own), is_own);
            prop_assert!(!plain.contains(&made));
            prop_assert_eq!(rendered, is_rendered.then_some(made));
            for layer in &plain {
                prop_assert!(is_dir(layer));
                let is_plain = |name: &str| !matches!(name, "" | "." | "..");
                prop_assert!(layer == "." || layer.split('/').all(is_plain), "{}", layer);
            }
            // The others are as the line has them.
            let of_line: Vec<String> =
                named.iter().filter_map(|name| directory(LAYERS, name, &is_dir)).collect();
            let others = plain.iter().filter(|layer| **layer != own).collect::<Vec<_>>();
            let expected = of_line
                .iter()
                .filter(|layer| **layer != own && *layer != "layers/.rendered/n")
                .collect::<Vec<_>>();
            prop_assert_eq!(others, expected);
        }
    }
}
