"""What mpirun takes for ssh between nodes that have met (meeting.py): "mpirun_agent.py ADDRESS COMMAND.." has the command started
there, by way of the first node's script, and ends when it has ended."""
import json
import os
import socket
import sys


def main():
    address, port, key = os.environ["FATHOM_MEETING"].rsplit(":", 2)
    with socket.create_connection((address, int(port))) as connection:
        message = {"agent": sys.argv[1], "key": key, "command": " ".join(sys.argv[2:])}
        connection.sendall((json.dumps(message) + "\n").encode())
        answer = connection.makefile("r", encoding="utf-8").readline()
    return json.loads(answer)["status"] if answer else 1


if __name__ == "__main__":
    sys.exit(main())
