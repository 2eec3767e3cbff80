//! Mounts that are unmounted with their guard.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A mounted file system. Drop unmounts it.
#[derive(Debug)]
pub struct Mount {
    at: PathBuf,
}

impl Mount {
    /// Mounts a tmpfs of `mib` MiB at an existing directory.
    ///
    /// # Errors
    ///
    /// Fails if `mount` fails.
    pub fn tmpfs(at: &Path, mib: u32) -> io::Result<Self> {
        Self::at(at, "tmpfs", &format!("size={mib}m,mode=0755"))
    }

    /// Bind-mounts a file or directory at an existing one.
    ///
    /// # Errors
    ///
    /// Fails if `mount` fails.
    pub fn bind(source: &Path, at: &Path) -> io::Result<Self> {
        Self::run(Command::new("mount").arg("--bind").arg(source).arg(at), at)
    }

    fn at(at: &Path, kind: &str, options: &str) -> io::Result<Self> {
        Self::run(Command::new("mount").args(["-t", kind, "-o", options, kind]).arg(at), at)
    }

    fn run(command: &mut Command, at: &Path) -> io::Result<Self> {
        succeeded(&command.output()?)?;
        Ok(Self { at: at.to_owned() })
    }

    /// Returns the mount point.
    pub fn path(&self) -> &Path {
        &self.at
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Unmount lazily, so that a leftover process of a failed test cannot keep the mount.
        let _ = Command::new("umount").arg("--lazy").arg(&self.at).status();
    }
}

/// A disk of 32 MiB that folds case, as disks of Windows and macOS do: `D` and `d` are the same name. Its file system is
/// exFAT, which has neither symlinks nor hard links.
#[derive(Debug)]
pub struct CaseFoldingDisk {
    // The mount ends before the device does.
    mount: Option<Mount>,
    device: String,
}

impl CaseFoldingDisk {
    /// Creates the disk in the file `image`, and mounts it at an existing directory.
    ///
    /// # Errors
    ///
    /// Fails if the tools of exFAT are missing, or if the system refuses the loop device or the mount.
    pub fn new(image: &Path, at: &Path) -> io::Result<Self> {
        File::create(image)?.set_len(32 << 20)?;
        let made = Command::new("mkfs.exfat").env("PATH", TOOLS).arg(image).output()?;
        succeeded(&made)?;
        let device =
            Command::new("losetup").env("PATH", TOOLS).args(["--find", "--show"]).arg(image).output()?;
        succeeded(&device)?;
        let device = String::from_utf8_lossy(&device.stdout).trim().to_owned();
        let mut disk = Self { mount: None, device };
        let mut mount = Command::new("mount");
        mount.env("PATH", TOOLS).args(["-t", "exfat-fuse", &disk.device]).arg(at);
        disk.mount = Some(Mount::run(&mut mount, at)?);
        Ok(disk)
    }
}

/// Where Debian has the tools. Not every user has these directories in `PATH`.
const TOOLS: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

impl Drop for CaseFoldingDisk {
    fn drop(&mut self) {
        drop(self.mount.take());
        let _ = Command::new("losetup").env("PATH", TOOLS).args(["--detach", &self.device]).status();
    }
}

fn succeeded(output: &Output) -> io::Result<()> {
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// An overlay whose lower layer can be filled before it is mounted. It cannot rename a directory of the lower layer.
#[derive(Debug)]
pub struct Overlay {
    // Fields are dropped in this order: the overlay before its layers.
    overlay: Option<Mount>,
    base: Mount,
}

impl Overlay {
    /// Creates the layers below `dir`, and mounts an overlay with an empty lower layer.
    ///
    /// # Errors
    ///
    /// Fails if `mount` fails.
    pub fn new(dir: &Path) -> io::Result<Self> {
        Self::with_lower(dir, |_| {})
    }

    /// Creates the layers below `dir`, fills the lower layer with `fill`, and mounts the overlay.
    ///
    /// # Errors
    ///
    /// Fails if `mount` fails.
    pub fn with_lower(dir: &Path, fill: impl FnOnce(&Path)) -> io::Result<Self> {
        // The layers are on a tmpfs, because the root of a container is an overlay, which cannot be the upper layer of
        // another one.
        let base = Mount::tmpfs(dir, 512)?;
        let [lower, upper, work, merged] = ["lower", "upper", "work", "merged"].map(|name| dir.join(name));
        for layer in [&lower, &upper, &work, &merged] {
            fs::create_dir(layer)?;
        }
        fill(&lower);
        let layers =
            format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
        let overlay = Mount::at(&merged, "overlay", &layers)?;
        Ok(Self { overlay: Some(overlay), base })
    }

    /// Returns the path of the merged tree.
    pub fn path(&self) -> PathBuf {
        self.base.path().join("merged")
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        drop(self.overlay.take());
    }
}
