"""Where scenarios are written down."""

SCENARIOS = {}
CLIENTS = ("sdk", "redkite", "rest")


def scenario(*ways):
    """Note a function as a scenario, for all clients or for these `ways` alone."""

    def note(function):
        name = function.__name__
        assert name not in SCENARIOS, name
        function.ways = frozenset(ways or CLIENTS)
        SCENARIOS[name] = function
        return function

    return note
