//! The points where a test can stop a placing. There is one before each change of the file system.

#[cfg(not(test))]
pub(super) fn step() {}

/// Returns whether the file system may exchange two names. A test can forbid it.
#[cfg(not(test))]
pub(super) fn has_exchange() -> bool {
    true
}

#[cfg(test)]
pub(super) use scripted::{has_exchange, scripted, step};

#[cfg(test)]
mod scripted {
    use std::cell::RefCell;

    type Hook = Box<dyn FnMut()>;

    thread_local! {
        static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
    }

    /// Runs `work` on a file system without an exchange, and calls `hook` before each of its changes.
    pub(in crate::state) fn scripted<T>(hook: impl FnMut() + 'static, work: impl FnOnce() -> T) -> T {
        struct Reset;
        impl Drop for Reset {
            fn drop(&mut self) {
                HOOK.set(None);
            }
        }
        HOOK.set(Some(Box::new(hook)));
        let _reset = Reset;
        work()
    }

    pub(in crate::state) fn step() {
        // The hook may unwind, so it must not be borrowed while it runs.
        if let Some(mut hook) = HOOK.take() {
            hook();
            HOOK.set(Some(hook));
        }
    }

    pub(in crate::state) fn has_exchange() -> bool {
        HOOK.with_borrow(Option::is_none)
    }
}
