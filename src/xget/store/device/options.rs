//! What is asked for of a device, as it was typed. Has touched none.

/// How a device is written to.
#[derive(Clone, Debug, Default)]
pub struct DeviceOptions {
    /// Though it is in use.
    pub force: bool,
    /// What holds nothing of the image, its holes and what is behind it, is given back to the
    /// device.
    pub discards: bool,
    /// All is read back from the medium.
    pub verifies: bool,
    /// It is only told how much differs.
    pub compares: bool,
    /// What the image must have before it counts as here.
    pub sha256: Option<[u8; 32]>,
}

impl DeviceOptions {
    /// The name of one that was typed.
    pub fn typed(&self) -> Option<&'static str> {
        let named =
            [(self.force, "--force"), (self.discards, "--discard"), (self.verifies, "--verify")];
        named.iter().find(|(typed, _)| *typed).map(|(_, name)| *name)
    }
}
