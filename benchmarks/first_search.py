"""A fresh process: import, open an existing database, search once. Prints one line of JSON.

first_search.py MODULE PATH COLLECTION QUERIES.npy
"""

import sys
import time

started = time.perf_counter()
cpu_started = time.process_time()


def main(module: str, path: str, collection: str, queries: str) -> None:
    client_class = __import__(module).MilvusClient
    imported = time.perf_counter()
    client = client_class(path)
    client.load_collection(collection)
    import numpy as np  # every client above has it loaded by now

    vector = np.load(queries, mmap_mode="r")[0].tolist()
    hits = client.search(collection, data=[vector], limit=10, search_params={"params": {"ef": 64}})[0]
    searched = time.perf_counter()
    assert len(hits.ids) == 10
    cpu = time.process_time() - cpu_started
    with open("/proc/self/status", encoding="ascii") as status:
        resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    print(
        f'{{"import_s": {imported - started:.3f}, "first_search_s": {searched - started:.3f}, '
        f'"cpu_s": {cpu:.3f}, "memory_mb": {resident / 1000:.1f}}}'
    )
    client.close()


if __name__ == "__main__":
    main(*sys.argv[1:5])
