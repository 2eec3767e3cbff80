//! Refuses to continue an upload after a failed write.

use crate::error::{Error, ErrorKind, Operation, Result};

/// Remembers whether an upload may continue. After a failed write, or a write whose future was dropped, it may only be aborted.
///
/// Every implementation of [`crate::Upload`] that can fail in the middle of a write has one.
#[derive(Debug, Default)]
pub struct UploadGate {
    is_broken: bool,
}

impl UploadGate {
    /// Begins a write. The upload is broken until [`UploadGate::leave`] is called.
    ///
    /// # Errors
    ///
    /// The upload is broken.
    pub fn enter(&mut self, location: impl FnOnce() -> String) -> Result<()> {
        self.check(Operation::Put, location)?;
        self.is_broken = true;
        Ok(())
    }

    /// Ends a write that took all bytes.
    pub fn leave(&mut self) {
        self.is_broken = false;
    }

    /// Refuses to continue a broken upload.
    ///
    /// # Errors
    ///
    /// The upload is broken.
    pub fn check(&self, operation: Operation, location: impl FnOnce() -> String) -> Result<()> {
        if self.is_broken { Err(Self::broken(operation, location())) } else { Ok(()) }
    }

    /// The error of a broken upload.
    pub fn broken(operation: Operation, location: String) -> Error {
        Error::new(ErrorKind::Cancelled, operation, location)
            .with_source("an earlier write failed or was dropped, so the upload can only be aborted")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_write_that_ended_lets_the_upload_go_on() {
        let mut gate = UploadGate::default();
        let location = || "s3://bucket/key".to_owned();
        gate.enter(location).unwrap();
        assert_eq!(gate.check(Operation::Commit, location).unwrap_err().operation(), Operation::Commit);
        assert!(gate.enter(location).is_err());
        gate.leave();
        gate.enter(location).unwrap();
    }
}
