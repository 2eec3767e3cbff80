//! `cargo xtask lint`: all checks that do not run the code.

use serde_json::Value;

use crate::{Result, cargo, process};

pub(crate) fn run() -> Result<()> {
    process::run(&mut cargo::cargo(&["fmt", "--all", "--check"]))?;
    let workspace = cargo::workspace();
    let clippy = [&["clippy"], &workspace[..], &["--all-targets", "--", "-D", "warnings"]].concat();
    process::run(&mut cargo::cargo(&clippy))?;
    process::run(
        cargo::cargo(&[&["doc"], &workspace[..], &["--no-deps"]].concat()).env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    check_packages()?;
    if process::is_there("cargo", &["deny", "--version"]) {
        process::run(&mut cargo::cargo(&["deny", "check"]))?;
    } else {
        eprintln!("xtask: cargo-deny is not installed: advisories and licenses were not checked");
    }
    Ok(())
}

/// Checks that each published crate has a description, a README and a valid package.
fn check_packages() -> Result<()> {
    let metadata = cargo::metadata()?;
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_published =
        |package: &&Value| package["publish"].as_array().is_none_or(|registries| !registries.is_empty());
    for package in packages.iter().filter(is_published) {
        let name = package["name"].as_str().unwrap_or_default();
        for field in ["description", "license", "repository", "readme", "rust_version"] {
            if package[field].is_null() {
                return Err(format!("{name} has no `{field}` in its manifest").into());
            }
        }
        let list =
            process::stdout_of(&mut cargo::cargo(&["package", "--list", "--allow-dirty", "-p", name]))?;
        for file in ["README.md", "Cargo.toml"] {
            if !list.lines().any(|line| line == file) {
                return Err(format!("the package of {name} has no {file}").into());
            }
        }
    }
    Ok(())
}
