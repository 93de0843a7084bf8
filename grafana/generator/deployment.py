"""Holds the YAML files around the dashboards to each other: what one names, another has."""
import re

import yaml


def wrong(root):
    """Lines that say what does not fit, where."""
    home = root / "grafana"
    read = {}
    for name in ("prometheus.yml", "compose.yaml", "provisioning/datasources/prometheus.yaml", "provisioning/dashboards/recorder.yaml"):
        try:
            read[name] = yaml.safe_load((home / name).read_text())
        except (OSError, yaml.YAMLError) as e:
            yield f"grafana/{name}: {e}"
    if len(read) < 4:
        return
    prometheus, compose, sources, dashboards = read.values()
    try:
        yield from held(home, prometheus, compose, sources, dashboards)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as e:
        yield f"grafana: a YAML file lacks what the others need: {type(e).__name__}: {e}"


def held(home, prometheus, compose, sources, dashboards):
    def expect(place, what, wanted, found):
        if wanted != found:
            yield f"grafana/{place}: {what}: expected {wanted!r}, found {found!r}"

    # Inside of a container's folder, what of ours is there.
    services, mounted = compose["services"], {}
    for service, described in services.items():
        yield from expect("compose.yaml", f"{service}'s network (recorders listen on loopback)", "host", described["network_mode"])
        image, _, version = described["image"].partition(":")
        if not re.fullmatch(r"v?\d+\.\d+\.\d+", version):
            yield f"grafana/compose.yaml: {service}: expected {image} with a whole version, found {version!r}"
        for volume in described["volumes"]:
            ours, inside, *_ = volume.split(":")
            if ours.startswith("."):
                mounted[service, inside] = (home / ours).resolve()
                if not mounted[service, inside].is_dir():
                    yield f"grafana/compose.yaml: {service}: {ours} is no folder here"
            elif ours not in compose["volumes"]:
                yield f"grafana/compose.yaml: {service}: volume {ours} is not declared"

    command = dict(word.removeprefix("--").split("=", 1) for word in services["prometheus"]["command"])
    yield from expect(
        "compose.yaml", "the configuration of Prometheus", home / "prometheus.yml",
        mounted.get(("prometheus", "/etc/prometheus"), home) / command["config.file"].removeprefix("/etc/prometheus/"),
    )
    for rules in prometheus["rule_files"]:
        if not (home / rules).is_file():
            yield f"grafana/prometheus.yml: {rules} is no file here"
    jobs = [job["job_name"] for job in prometheus["scrape_configs"]]
    yield from expect("prometheus.yml", "jobs that dashboards look for", True, "recorder" in jobs)

    source = sources["datasources"][0]
    yield from expect("provisioning/datasources/prometheus.yaml", "type", "prometheus", source["type"])
    yield from expect("provisioning/datasources/prometheus.yaml", "uid", "recorder-prometheus", source["uid"])
    yield from expect("provisioning/datasources/prometheus.yaml", "url", "http://" + command["web.listen-address"], source["url"])
    yield from expect(
        "provisioning/datasources/prometheus.yaml", "timeInterval", prometheus["global"]["scrape_interval"],
        source["jsonData"]["timeInterval"],
    )
    folder = dashboards["providers"][0]["options"]["path"]
    yield from expect("compose.yaml", f"what Grafana finds at {folder}", home / "dashboards", mounted.get(("grafana", folder)))
    yield from expect(
        "compose.yaml", "what Grafana is provisioned with", home / "provisioning", mounted.get(("grafana", "/etc/grafana/provisioning"))
    )
    start = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    if not (home / "dashboards" / start.removeprefix(folder + "/")).is_file():
        yield f"grafana/compose.yaml: the dashboard to begin with, {start}, is no file here"
