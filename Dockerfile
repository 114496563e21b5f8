# Runs the smoke preset on a CPU and writes its results to /out:
#   docker build -t dtvg-bench .
#   docker run --rm -v "$PWD/out:/out" dtvg-bench
FROM python:3.11-slim
RUN pip install --no-cache-dir torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY bench bench
COPY baselines baselines
COPY dtvg dtvg
RUN pip install --no-cache-dir -c constraints.txt .
WORKDIR /
ENTRYPOINT ["bench"]
CMD ["run", "--suite", "glue", "--shots", "16", "--workers", "2", "--out", "/out"]
