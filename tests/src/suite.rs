//! The tests of one topic, and their requirements.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Trial};

use crate::binary::{NoBinary, larder_binary};
use crate::need::{Missing, Need};

/// One test. It fails by panicking.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    name: &'static str,
    needs: &'static [Need],
    test: fn(),
}

impl Case {
    /// Creates a test that needs only the binary.
    pub const fn new(name: &'static str, test: fn()) -> Self {
        Self { name, needs: &[], test }
    }

    /// Sets the requirements of the test on the machine.
    #[must_use]
    pub const fn needs(mut self, needs: &'static [Need]) -> Self {
        self.needs = needs;
        self
    }

    fn into_trial(self, theme: &str) -> Trial {
        Trial::ignorable_test(format!("{theme}::{}", self.name), move || {
            match larder_binary() {
                Ok(_) => {}
                Err(NoBinary::NoCargo(reason)) => return larder_testkit::ignore(reason),
                Err(NoBinary::Broken(reason)) => return Err(reason.into()),
            }
            for need in self.needs {
                match need.check() {
                    Ok(()) => {}
                    Err(Missing::Here(reason)) => return larder_testkit::ignore(reason),
                    Err(Missing::Server(backend)) => return larder_testkit::ignore_without_server(backend),
                }
            }
            (self.test)();
            Ok(Completion::Completed)
        })
    }
}

/// Runs the tests of `theme` that the command line selects.
pub fn run(theme: &str, cases: &[Case]) -> ExitCode {
    let arguments = Arguments::from_args();
    libtest_mimic::run(&arguments, cases.iter().map(|case| case.into_trial(theme)).collect()).exit_code()
}

/// Turns functions into cases of the same names, with these needs.
#[macro_export]
macro_rules! cases {
    ($needs:expr; $($module:ident :: { $($test:ident),* $(,)? }),* $(,)?) => {
        [$($($crate::Case::new(
            concat!(stringify!($module), "::", stringify!($test)),
            $module::$test,
        ).needs(&$needs)),*),*]
    };
}
