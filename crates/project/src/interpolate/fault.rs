//! Why a project cannot be interpolated.

/// Why a project cannot be interpolated.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct VariableFault {
    /// The variable that caused the fault, if known.
    pub(crate) variable: Option<String>,
    pub(crate) problem: String,
}

impl VariableFault {
    pub(super) fn variable(name: String, problem: impl Into<String>) -> Self {
        Self { variable: Some(name), problem: problem.into() }
    }

    pub(super) fn other(problem: impl Into<String>) -> Self {
        Self { variable: None, problem: problem.into() }
    }
}
