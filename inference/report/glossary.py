"""Words of a report for people who do not build such systems."""

GLOSSARY = (
    ("Model, version", "A model is a product such as film recommendations; each training of it makes a new version."),
    ("Algorithm", "The method by which a version was computed from the data."),
    ("Artifact", "The file that a version consists of. Its hash is a fingerprint: another file has another one."),
    (
        "Deployment",
        "The way of a version into production: checked, loaded beside the old one, promoted, or taken back.",
    ),
    (
        "Approval, policy",
        "A policy says how many people have to look at a loaded version before it serves. Each approval is of one "
        "file and of what was found of it, by their hashes.",
    ),
    ("Fallback", "An answer made by something simpler than the model, because the model could not or may not answer."),
    ("Training run", "One computation of a version from an exactly named part of the log."),
    ("Dataset", "What a run took from the log, after leaving out people who refuse or were erased, and repeats."),
    (
        "Recall, NDCG, hit rate",
        "How much of what people chose next was among the items shown first; NDCG also asks how high.",
    ),
    ("Coverage", "The share of all items that is shown to anybody."),
    ("Novelty", "How little known the items shown are, in bits: one more bit is half as many people who know them."),
    ("PSI", "Population stability index: how unlike two distributions are. 0 is alike; above 0.25 is a marked shift."),
    ("Half, 95 of 100, 99 of 100 within", "The time within which so many of the answers came: the median and its kin."),
    (
        "Log, topic, partition, offset",
        "The log is the one place where everything is written, in order, and never changed. "
        "A record stands in a topic, in one of its partitions, at an offset, counted from 0.",
    ),
    ("Dead letter", "A record that a reader could not take. It is set aside with its cause until somebody decides."),
    ("Erasure", "A person is forgotten: the key that their data were written under is destroyed."),
)

MEASURES = {
    "coverage": "coverage",
    "hit_rate": "hit rate",
    "ndcg": "NDCG",
    "novelty": "novelty in bits",
    "precision": "precision",
    "recall": "recall",
}

SOURCES = {
    "model": "the model",
    "last_good": "the last good answer, given again",
    "co_occurrence": "what others chose together with it",
    "popular_in_category": "what is popular in the person's categories",
    "popular": "what is popular",
    "none": "nothing could be answered",
}

REASONS = {
    "no_model": "no version was in production",
    "new_user": "registered, and has not done anything yet",
    "unknown_user": "nobody has heard of this person",
    "no_consent": "the person withdrew consent to personalisation",
    "unknown_items": "the version knows nothing of what the person has met",
    "nothing_left": "every item it offered was retired or hidden",
    "triton_timeout": "the scoring server was too slow",
    "triton_unavailable": "the scoring server was away",
    "triton_model_not_loaded": "the scoring server had not loaded the version",
    "triton_refused": "the scoring server refused the request",
    "history_unavailable": "the person's history could not be read in time",
}
