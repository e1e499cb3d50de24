//! Common words: those of general questions in several languages (`general.json`, and the general probes), and others of
//! English. They say less of what a question is about.

use super::terms::tokens;
use crate::learn::inner::general;
use crate::text::scan::{Kind, Token};
use std::collections::HashSet;
use std::sync::OnceLock;

/// English nouns, verbs and adjectives that many questions hold.
const ENGLISH: &str = "year years day days week weeks month months hour hours minute minutes second seconds time times \
    century age date today tomorrow yesterday morning evening night weekend number numbers amount percent half plus \
    minus divided square root sum result price cost money pay buy sell dollar dollars euro euros cheap free big small \
    large largest smallest biggest high higher highest tall tallest long longest short shortest old oldest new newest \
    young fast fastest slow deep deepest hot cold warm best better good bad worst right wrong true false different \
    difference same similar example reason way ways kind type types part parts form work works working play plays \
    player players team game match point points win winner won lose lost start end begin began open close stand stands \
    stood run walk write writes writing wrote written read reading book books story stories poem song songs letter \
    letters word words sentence language languages speak spoken translate english french german spanish italian \
    chinese japanese man men woman women child children people person family father mother friend friends boy girl \
    king queen president country countries city cities town capital state world land river lake sea ocean mountain \
    island continent earth moon sun star stars planet sky water fire air ice snow rain weather tree trees plant plants \
    flower animal animals dog cat cats bird birds fish horse cow food eat eating drink cook cooking boil bake bread \
    egg eggs meat milk tea coffee sugar salt fruit apple apples banana vegetable soup dinner house home room door \
    window kitchen garden street road car cars train plane ship boat travel trip holiday school student students \
    teacher learn study job company office business market shop store computer program code function file files \
    list python java script software phone internet website email password error color colour red green blue yellow \
    black white hand hands head eye eyes body heart foot feet leg legs health doctor sleep music film movie art \
    picture paint painted make made create created build built invent invented discover discovered find found found \
    help need use mean means call called happen live lives lived born die died come came become happy life death war \
    war history science law government power energy light sound gas metal gold symbol chemical formula temperature \
    degrees size weight population name names famous important popular common simple easy hard difficult explain \
    describe recommend tips advice idea ideas plan fun joke";

/// Whether the word, in normal form, is common in general questions of some language.
pub fn is_common(word: &str) -> bool {
    static COMMON: OnceLock<HashSet<String>> = OnceLock::new();
    let common = COMMON.get_or_init(|| {
        let others: Vec<String> =
            serde_json::from_str(include_str!("general.json")).expect("the list is built in");
        let probes = general::all().iter().map(|q| &q.question);
        let general = probes.chain(&others).flat_map(|q| tokens(q));
        let words = tokens(ENGLISH).into_iter().chain(general);
        // A single letter of a script without spaces is part of too many words.
        let whole = |t: &Token| t.kind != Kind::Unspaced || t.text.chars().count() > 1;
        words.filter(whole).map(|t| t.text).collect()
    });
    common.contains(word)
}
