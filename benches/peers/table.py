"""The table of a run: one row for each load, Anello's figures and every peer's, as ratios."""


def figure(result, *path):
    for key in path:
        if not isinstance(result, dict) or key not in result:
            return None
        result = result[key]
    return result


def cell(result, base, unit):
    if result is None:
        return "failed"
    rate = figure(result, "operations_per_second")
    cpu = figure(result, "server", "cpu_us_per_operation")
    if not rate:
        return "failed"
    text = f"{rate * unit / 2**20:,.0f} MiB/s" if unit >= 2**17 else f"{rate:,.0f}/s"
    if cpu is not None:
        text += f", {cpu * 2**30 / unit / 1e6:.2f} s/GiB" if unit >= 2**17 else f", {cpu:,.0f} µs"
    if base is not None and result is not base:
        base_rate, base_cpu = figure(base, "operations_per_second"), figure(base, "server", "cpu_us_per_operation")
        text += f" (**{base_rate / rate:.1f}x**"
        text += f", **{cpu / base_cpu:.1f}x**)" if cpu and base_cpu else ")"
    return text


def table(results, loads):
    names = list(results)
    lines = ["| load | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for load, _, unit in loads:
        base = results.get("Anello", {}).get(load)
        lines.append(f"| {load} | " + " | ".join(cell(results[name].get(load), base, unit) for name in names) + " |")
    return "\n".join(lines)
