//! Finds a Codex CLI, or brings one into the demonstration's own folder.

#![expect(clippy::disallowed_methods, reason = "looks for Codex before there is a session")]

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::{Capture, capture};

/// The version that is installed where none is found: the one the project is tested with.
pub const CODEX_VERSION: &str = "0.169.0";

/// The package is about 160 MB; a slow line needs minutes, a dead one must not hold the demonstration for ever.
const INSTALL_LIMIT: Duration = Duration::from_secs(15 * 60);

/// Returns a Codex CLI: the one `LOOP_CODEX_BIN` names, else `codex` on `PATH`, else one installed into `cache`.
///
/// Says through `say` what it downloads before it does. Whether the version will do is for the caller to see; where it
/// will not, [`install_codex`] brings one that does. Returns an error if `LOOP_CODEX_BIN` names no executable, or if
/// npm is missing or fails.
pub fn find_or_install_codex(cache: &Path, say: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    let search = std::env::var_os("PATH");
    match find(std::env::var_os("LOOP_CODEX_BIN").as_deref(), search.as_deref())? {
        Some(found) => Ok(found),
        None => install(cache, search.as_deref(), say),
    }
}

/// Returns the Codex CLI of the tested version in `cache`, installed by npm where it is not there yet.
///
/// Nothing outside `cache` changes, and an install that broke off is never used. Returns an error if npm is missing or
/// fails.
pub fn install_codex(cache: &Path, say: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    install(cache, std::env::var_os("PATH").as_deref(), say)
}

fn find(named: Option<&OsStr>, search: Option<&OsStr>) -> Result<Option<PathBuf>> {
    let cwd = std::env::current_dir().context("read the current folder")?;
    if let Some(named) = named.filter(|named| !named.is_empty()) {
        let found = which::which_in(named, search, cwd)
            .with_context(|| format!("find the executable that LOOP_CODEX_BIN names: {}", named.display()))?;
        return Ok(Some(found));
    }
    Ok(which::which_in("codex", search, cwd).ok())
}

fn install(cache: &Path, search: Option<&OsStr>, say: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    let home = cache.join(format!("codex-{CODEX_VERSION}"));
    if let Some(binary) = binary(&home) {
        return Ok(binary);
    }
    let cwd = std::env::current_dir().context("read the current folder")?;
    let npm = which::which_in("npm", search, cwd)
        .context("find npm, which installs Codex; install Node.js, or set LOOP_CODEX_BIN to a Codex CLI")?;
    std::fs::create_dir_all(cache).with_context(|| format!("create {}", cache.display()))?;
    let package = format!("@openai/codex@{CODEX_VERSION}");
    say(&format!(
        "No Codex CLI that can be used is found. Downloading {package} with npm into {} (about 160 MB, 400 MB unpacked; nothing else changes).",
        home.display()
    ));
    // Beside its place to be, so that it can be moved there in one step.
    let half = tempfile::Builder::new()
        .prefix("codex-install-")
        .tempdir_in(cache)
        .with_context(|| format!("create a folder in {}", cache.display()))?;
    // An empty package of its own keeps npm from looking for one in the folders above.
    let manifest = half.path().join("package.json");
    std::fs::write(&manifest, "{\"private\": true}\n").with_context(|| format!("write {}", manifest.display()))?;
    let mut argv: Vec<OsString> = vec![npm.into_os_string()];
    argv.extend(
        ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", &package].map(OsString::from),
    );
    let shown = argv.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let done = capture(&Capture {
        argv,
        cwd: half.path().to_owned(),
        // A user's setting for global installs would put it outside of the folder.
        env_remove: ["npm_config_global", "npm_config_prefix", "npm_config_location"].map(OsString::from).to_vec(),
        limit: INSTALL_LIMIT,
        ..Capture::default()
    })
    .with_context(|| format!("run {shown}"))?;
    if !done.exit.success() {
        bail!("{shown} ended with {:?}: {}", done.exit, String::from_utf8_lossy(&done.stderr).trim());
    }
    if binary(half.path()).is_none() {
        bail!("{shown} brought no Codex CLI for this platform");
    }
    let half = half.keep();
    if let Err(error) = std::fs::rename(&half, &home) {
        let _ = std::fs::remove_dir_all(&half);
        // Another demonstration may have been quicker; what it moved here is whole.
        if binary(&home).is_none() {
            return Err(error).with_context(|| format!("move Codex to {}", home.display()));
        }
    }
    binary(&home).with_context(|| format!("find Codex in {}", home.display()))
}

/// Returns the native binary of an install, else the package's launcher.
fn binary(home: &Path) -> Option<PathBuf> {
    let modules = home.join("node_modules");
    let folders = |path: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(path).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect()
    };
    let native = folders(&modules.join("@openai"))
        .iter()
        .flat_map(|package| folders(&package.join("vendor")))
        .map(|triple| triple.join("bin/codex"))
        .find(|binary| binary.is_file());
    native.or_else(|| Some(modules.join(".bin/codex")).filter(|launcher| launcher.exists()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use pretty_assertions::assert_eq;

    use super::*;

    fn executable(dir: &Path, name: &str, script: &str) -> PathBuf {
        fs::create_dir_all(dir).unwrap();
        let path = dir.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// What npm leaves behind, as a script.
    const MAKES_A_BINARY: &str = "d=node_modules/@openai/codex-test/vendor/test-os/bin; mkdir -p $d && : > $d/codex";

    /// A search path of one folder with this `npm`, and the system's own.
    fn search(dir: &Path, npm: &str) -> OsString {
        executable(&dir.join("bin"), "npm", npm);
        std::env::join_paths([dir.join("bin"), "/usr/bin".into(), "/bin".into()]).unwrap()
    }

    #[test]
    fn the_named_codex_comes_before_the_one_on_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let on_path = executable(&dir.path().join("bin"), "codex", "");
        let named = executable(dir.path(), "other", "");
        let search = dir.path().join("bin").into_os_string();
        assert_eq!(find(Some(named.as_os_str()), Some(&search)).unwrap(), Some(named));
        assert_eq!(find(None, Some(&search)).unwrap(), Some(on_path));
        assert_eq!(find(None, Some(dir.path().as_os_str())).unwrap(), None);
        let error = find(Some(OsStr::new("/no/such/codex")), Some(&search)).unwrap_err();
        assert!(error.to_string().contains("/no/such/codex"), "{error}");
    }

    #[test]
    fn an_install_is_announced_once_and_found_the_next_time() {
        let dir = tempfile::tempdir().unwrap();
        let search = search(dir.path(), MAKES_A_BINARY);
        let cache = dir.path().join("cache");
        let mut said = Vec::new();
        let mut say = |text: &str| said.push(text.to_owned());
        let first = install(&cache, Some(&search), &mut say).unwrap();
        assert_eq!(install(&cache, Some(OsStr::new("")), &mut say).unwrap(), first);
        assert!(first.starts_with(cache.join("codex-0.169.0")) && first.is_file());
        assert!(said.len() == 1 && said[0].contains("Downloading @openai/codex@0.169.0"), "{said:?}");
        assert_eq!(fs::read_dir(&cache).unwrap().count(), 1);
    }

    #[test]
    fn an_install_that_breaks_off_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("cache");
        let npm = search(dir.path(), &format!("{MAKES_A_BINARY}; echo the line is dead >&2; exit 1"));
        let error = install(&cache, Some(&npm), &mut |_| ()).unwrap_err();
        assert!(error.to_string().contains("the line is dead"), "{error}");
        let npm = search(dir.path(), "true");
        let error = install(&cache, Some(&npm), &mut |_| ()).unwrap_err();
        assert!(error.to_string().contains("brought no Codex CLI"), "{error}");
        assert_eq!(fs::read_dir(&cache).unwrap().count(), 0);
    }
}
