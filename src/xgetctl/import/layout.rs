//! What an unpacked image archive says of itself: an OCI image layout, or what `docker save`
//! writes. Which layers in which order, each with the digests it must have.
//!
//! Documents come from strangers: bounded in length, paths looked up within the archive,
//! digests held. Formats: OCI image-spec (image layout, image index, manifest,
//! configuration), and Docker's image spec 1.2 for `manifest.json`.

use crate::failure::{Failure, Outcome};
use crate::out;
use crate::rooted::Rooted;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Longest document that is read.
const DOCUMENT_LEN_MAX: u64 = 4 << 20;
/// Indexes within indexes.
const DEPTH_MAX: usize = 4;
/// Layers of one image; Docker itself has 127.
const LAYERS_MAX: usize = 512;
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// A layer: where in the archive, and what its bytes must be.
#[derive(Clone, Debug)]
pub struct Layer {
    pub path: PathBuf,
    /// Of the bytes as they lie there; Docker's own archive has none.
    pub blob: Option<[u8; 32]>,
    /// Of the plain tar.
    pub plain: [u8; 32],
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
    platform: Option<Platform>,
}

#[derive(Clone, Debug, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    architecture: String,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// An unpacked archive, and which image of it is wanted.
pub struct Archive<'a> {
    files: &'a Rooted,
    name: &'a str,
    tag: Option<&'a str>,
}

/// The layers of the image in an archive; none where it holds none, and is a root itself.
pub fn layers(files: &Rooted, name: &str, tag: Option<&str>) -> Outcome<Option<Vec<Layer>>> {
    let archive = Archive { files, name, tag };
    let has = |path: &str| files.status(path).map(|status| status.is_some());
    let layers = if has("oci-layout")? && has("index.json")? {
        archive.oci()?
    } else if has("manifest.json")? && !has("etc")? && !has("usr")? {
        archive.docker()?
    } else {
        return Ok(None);
    };
    if layers.is_empty() || layers.len() > LAYERS_MAX {
        return Err(archive.wrong(format!("it has {} layers, not 1 to {LAYERS_MAX}", layers.len())));
    }
    Ok(Some(layers))
}

/// As OCI and Go name this machine's.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl Archive<'_> {
    fn wrong(&self, why: impl AsRef<str>) -> Failure {
        Failure::wrong(format!("{}: {}", self.name, why.as_ref()))
    }

    fn document<T: for<'de> Deserialize<'de>>(&self, path: &str, bytes: &[u8]) -> Outcome<T> {
        // serde_json says line and column.
        serde_json::from_slice(bytes).map_err(|error| self.wrong(format!("{path}: {error}")))
    }

    fn bytes(&self, path: &str) -> Outcome<Vec<u8>> {
        self.files
            .read(path, DOCUMENT_LEN_MAX)?
            .ok_or_else(|| self.wrong(format!("{path}, which it needs, is not in it")))
    }

    /// A document that is named by its digest.
    fn blob<T: for<'de> Deserialize<'de>>(&self, descriptor: &Descriptor) -> Outcome<T> {
        let (path, digest) = self.place(&descriptor.digest)?;
        let bytes = self.bytes(&path)?;
        let is = <[u8; 32]>::from(Sha256::digest(&bytes));
        if is != digest {
            return Err(self.wrong(format!("{path} has the digest {}, not its own", out::hex(&is))));
        }
        self.document(&path, &bytes)
    }

    fn place(&self, digest: &str) -> Outcome<(String, [u8; 32])> {
        let digest = parse_digest(digest).map_err(|why| self.wrong(why))?;
        Ok((format!("blobs/sha256/{}", out::hex(&digest)), digest))
    }

    fn oci(&self) -> Outcome<Vec<Layer>> {
        let index: Index = self.document("index.json", &self.bytes("index.json")?)?;
        let tagged = index.manifests.into_iter().filter(|one| match self.tag {
            Some(tag) => one.annotations.get(REF_NAME).is_some_and(|name| name == tag),
            None => true,
        });
        let manifest = self.choose(tagged.collect(), 0)?;
        let config: Config = self.blob(&manifest.config)?;
        self.check_architecture(&config.architecture)?;
        if config.rootfs.diff_ids.len() != manifest.layers.len() {
            return Err(self.wrong("its configuration names another number of layers"));
        }
        let pairs = manifest.layers.iter().zip(&config.rootfs.diff_ids);
        pairs.map(|(layer, plain)| self.oci_layer(layer, plain)).collect()
    }

    fn oci_layer(&self, layer: &Descriptor, plain: &str) -> Outcome<Layer> {
        if !layer.media_type.contains("tar") || layer.media_type.contains("encrypted") {
            let text = format!("a layer is of the kind {:?}, which is not known", layer.media_type);
            return Err(self.wrong(text));
        }
        let (path, blob) = self.place(&layer.digest)?;
        let plain = parse_digest(plain).map_err(|why| self.wrong(why))?;
        Ok(Layer { path: path.into(), blob: Some(blob), plain })
    }

    /// The one manifest for this machine.
    fn choose(&self, mut found: Vec<Descriptor>, depth: usize) -> Outcome<Manifest> {
        let fits = |one: &Descriptor| match &one.platform {
            Some(platform) => platform.os == "linux" && platform.architecture == architecture(),
            None => true,
        };
        found.retain(fits);
        let chosen = match &found[..] {
            [one] => one,
            [] => return Err(self.wrong(self.no_image())),
            several => {
                let names: Vec<&str> = several
                    .iter()
                    .filter_map(|one| one.annotations.get(REF_NAME).map(String::as_str))
                    .collect();
                return Err(self.several(&names));
            }
        };
        if !chosen.media_type.contains("index") && !chosen.media_type.contains("manifest.list") {
            return self.blob(chosen);
        }
        if depth == DEPTH_MAX {
            return Err(self.wrong("its indexes are nested too deeply"));
        }
        let index: Index = self.blob(chosen)?;
        self.choose(index.manifests, depth + 1)
    }

    fn no_image(&self) -> String {
        let tag = self.tag.map(|tag| format!(" with the tag {tag:?}")).unwrap_or_default();
        format!("it has no image{tag} for linux/{}", architecture())
    }

    fn several(&self, names: &[&str]) -> Failure {
        let names = names.join(", ");
        self.wrong(format!("it has several images: choose one with --tag ({names})"))
    }

    fn check_architecture(&self, has: &str) -> Outcome {
        if !has.is_empty() && has != architecture() {
            return Err(self.wrong(format!("it is for {has}, and this is {}", architecture())));
        }
        Ok(())
    }

    fn docker(&self) -> Outcome<Vec<Layer>> {
        let images: Vec<DockerImage> =
            self.document("manifest.json", &self.bytes("manifest.json")?)?;
        let tags = |image: &DockerImage| image.repo_tags.clone().unwrap_or_default();
        let wanted = |image: &&DockerImage| match self.tag {
            Some(tag) => tags(image).iter().any(|has| has == tag),
            None => true,
        };
        let found: Vec<&DockerImage> = images.iter().filter(wanted).collect();
        let image = match found[..] {
            [one] => one,
            [] => return Err(self.wrong(self.no_image())),
            _ => {
                let names: Vec<String> = found.iter().flat_map(|image| tags(image)).collect();
                return Err(self.several(&names.iter().map(String::as_str).collect::<Vec<_>>()));
            }
        };
        let bytes = self.bytes(&image.config)?;
        self.check_docker_config(&image.config, &bytes)?;
        let config: Config = self.document(&image.config, &bytes)?;
        self.check_architecture(&config.architecture)?;
        if config.rootfs.diff_ids.len() != image.layers.len() {
            return Err(self.wrong("its configuration names another number of layers"));
        }
        let pairs = image.layers.iter().zip(&config.rootfs.diff_ids);
        let layer = |(path, plain): (&String, &String)| {
            let plain = parse_digest(plain).map_err(|why| self.wrong(why))?;
            Ok(Layer { path: path.into(), blob: None, plain })
        };
        pairs.map(layer).collect()
    }

    /// The configuration is named by its digest: `HEX.json` or `blobs/sha256/HEX`.
    fn check_docker_config(&self, path: &str, bytes: &[u8]) -> Outcome {
        let stem = Path::new(path).file_stem().unwrap_or_default().to_string_lossy();
        match parse_hex(&stem) {
            Some(digest) if digest == <[u8; 32]>::from(Sha256::digest(bytes)) => Ok(()),
            Some(_) => Err(self.wrong(format!("{path} has another digest than its name"))),
            None => Err(self.wrong(format!("{path} is not named by its digest"))),
        }
    }
}

fn parse_digest(text: &str) -> Result<[u8; 32], String> {
    let digest = text.strip_prefix("sha256:").and_then(parse_hex);
    digest.ok_or_else(|| format!("{text:?} is no sha256 digest, and no other is understood"))
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}
