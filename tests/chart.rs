//! The Helm chart, rendered by Helm's own engine. The checks are in `tests/chart/check.py`; this runs them when
//! what they need is there, and never reaches the network.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Python of `scripts/chart-test.sh`, if that has been run here.
fn python_with_helm() -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let folder = root().join(target).join("chart-venv");
    // Written last, so it says that nothing is missing.
    folder.join("packages").exists().then(|| folder.join("bin/python"))
}

fn runs(program: &str, argument: &str) -> bool {
    Command::new(program).arg(argument).output().is_ok_and(|output| output.status.success())
}

fn check(python: &Path, arguments: &[&str]) -> Output {
    Command::new(python).arg(root().join("tests/chart/check.py")).args(arguments).output().unwrap()
}

#[test]
fn the_chart_renders_as_in_the_golden_files_and_refuses_wrong_values() {
    let output = if let Some(python) = python_with_helm() {
        check(&python, &[])
    } else if runs("helm", "version") && runs("python3", "--version") {
        check(Path::new("python3"), &["--helm", "helm"])
    } else {
        println!("skipped: Helm is not there; scripts/chart-test.sh installs it below target/");
        return;
    };
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
}
