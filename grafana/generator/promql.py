"""Finds what an expression names and nobody has: metrics, labels, functions. Whether it parses, Prometheus itself says."""
import re

# Of Prometheus 2.42.
FUNCTIONS = set(
    "abs absent absent_over_time ceil changes clamp clamp_max clamp_min count_over_time delta deriv floor histogram_quantile "
    "idelta increase irate label_join label_replace max_over_time min_over_time avg_over_time sum_over_time last_over_time "
    "quantile_over_time rate resets round scalar sort sort_desc time timestamp vector "
    "sum min max avg count topk bottomk quantile stddev stdvar group count_values".split()
)
WORDS = {"and", "or", "unless", "bool", "offset", "Inf", "NaN", "inf", "nan"}
NAME = r"[A-Za-z_:][A-Za-z0-9_:]*"


def unknown_words(expr, known):
    """Lines that name what is unknown. `known`: the labels of each metric, or None where they are not known."""
    rest = expr
    for open_, close in ("()", "[]", "{}"):
        if rest.count(open_) != rest.count(close):
            yield f"{open_} and {close} do not match in {expr}"
    for name, labels in re.findall(rf"({NAME})\s*\{{([^}}]*)\}}", rest):
        for label in re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", re.sub(r'"[^"]*"', '""', labels)):
            if known.get(name) is not None and label not in known[name]:
                yield f"{name} has no label {label}: {expr}"
    rest = re.sub(r'"[^"]*"', "", rest)
    rest = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", rest)
    rest = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\b\s*(\([^)]*\))?", "", rest)
    rest = re.sub(r"\boffset\s+\w+", "", rest)
    for name, is_called in re.findall(rf"(?<![\w:.$])({NAME})\s*(\()?", rest):
        if is_called and name not in WORDS:
            if name not in FUNCTIONS:
                yield f"{name}() is no function of Prometheus 2.42: {expr}"
        elif name not in known and name not in WORDS:
            yield f"{name} is declared neither in src/metrics.rs nor in grafana/rules.yml: {expr}"
