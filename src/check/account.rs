//! Who serves: the account that owns the state folder.

use std::path::Path;

use super::{Desk, kinds};

/// Looks at it; `telling` is the folder by whose owner it is known.
pub(super) fn look(desk: &mut Desk, telling: Option<&Path>) {
    let who = desk.who.clone();
    let Some(folder) = telling else {
        let what = format!("not known, since no folder of its own is seen; judged as {who}");
        return desk.looked("serves as", what);
    };
    desk.looked("serves as", format!("{who}, who owns {}", folder.display()));
    if desk.uid == 0 && !desk.config().allow_root {
        desk.at(
            &kinds::ROOT_SERVES,
            folder,
            "it is root's, and root may not serve: another account cannot write there, and every request is answered 503",
            "chown it, and all that is in it, to the account that serves: deploy/tmpfiles.d/self-heal.conf makes it so",
        );
    }
}
