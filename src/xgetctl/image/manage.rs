//! `image clone` and `image rm`: whole images, in one step each.

use crate::failure::Outcome;
use crate::head::Head;
use crate::listing::Change;
use crate::staging::Staging;
use crate::{out, program};
use clap::Args;

#[derive(Args, Clone, Debug)]
pub struct Clone {
    /// The image to copy
    from: String,
    /// The name of the copy
    to: String,
    #[command(flatten)]
    change: Change,
}

#[derive(Args, Clone, Debug)]
pub struct Rm {
    /// The images to remove
    #[arg(required = true)]
    names: Vec<String>,
    #[command(flatten)]
    change: Change,
}

impl Clone {
    pub fn run(&self, head: &Head) -> Outcome {
        let (from, to) = (head.image(&self.from)?, head.new_image(&self.to)?);
        if self.change.dry_run {
            return out::line(&format!(
                "would copy {} to {}",
                from.dir.display(),
                to.dir.display()
            ));
        }
        let staging = Staging::below(&head.images())?;
        let made = staging.join("image");
        program::copy_tree(&from.dir, &made)?;
        staging.put(&made, &to.dir, false)?;
        out::line(&format!("{} is a copy of {}", self.to, self.from))
    }
}

impl Rm {
    pub fn run(&self, head: &Head) -> Outcome {
        // All are looked for before one is removed.
        let images = self.names.iter().map(|name| head.image(name));
        for image in images.collect::<Outcome<Vec<_>>>()? {
            if self.change.dry_run {
                out::line(&format!("would remove {}", image.dir.display()))?;
                continue;
            }
            // A link to an image elsewhere is all that is removed.
            Staging::below(&head.images())?.take(&image.dir)?;
            out::line(&format!("{} is removed", image.name))?;
        }
        Ok(())
    }
}
