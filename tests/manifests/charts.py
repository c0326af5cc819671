"""A chart with what makes hand-written checksums break: a subchart, tpl, hooks, a CRD, several objects in one file."""

from __future__ import annotations

from pathlib import Path

FILES = {
    "Chart.yaml": "apiVersion: v2\nname: shop\nversion: 1.0.0\n",
    "values.yaml": "level: info\nunused: x\npassword: hunter2\n"
    "cache:\n  size: '1'\n  line: 'size={{ .Values.size }}'\n",
    "crds/thing.yaml": """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.com}
spec:
  group: example.com
  names: {kind: Thing, plural: things}
  scope: Namespaced
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
""",
    "templates/config.yaml": """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-web
  labels: {helm.sh/chart: "{{ .Chart.Name }}-{{ .Chart.Version }}"}
data:
  LEVEL: {{ .Values.level | quote }}
  UNUSED: {{ .Values.unused | quote }}
---
apiVersion: v1
kind: Secret
metadata: {name: {{ .Release.Name }}-web}
stringData:
  PASSWORD: {{ .Values.password | quote }}
""",
    "templates/web.yaml": """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}-web
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata:
      labels: {app: web}
      annotations:
        # by hand once, and of the whole file
        checksum/config: {{ include (print $.Template.BasePath "/config.yaml") . | sha256sum }}
    spec:
      containers:
      - name: web
        image: web:1
        env:
        - name: LEVEL
          valueFrom: {configMapKeyRef: {name: {{ .Release.Name }}-web, key: LEVEL}}
        - name: PASSWORD
          valueFrom: {secretKeyRef: {name: {{ .Release.Name }}-web, key: PASSWORD}}
""",
    "templates/hook.yaml": """\
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-migrate
  annotations: {helm.sh/hook: pre-upgrade}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: main, image: web:1, envFrom: [{configMapRef: {name: {{ .Release.Name }}-web}}]}]
""",
    "charts/cache/Chart.yaml": "apiVersion: v2\nname: cache\nversion: 1.0.0\n",
    "charts/cache/values.yaml": "size: '1'\nline: ''\n",
    "charts/cache/templates/config.yaml": """\
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}-cache}
data:
  cache.conf: |
    {{ tpl .Values.line . }}
""",
    "charts/cache/templates/cache.yaml": """\
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: {{ .Release.Name }}-cache}
spec:
  serviceName: cache
  selector: {matchLabels: {app: cache}}
  template:
    metadata: {labels: {app: cache}}
    spec:
      containers:
      - name: cache
        image: cache:1
        volumeMounts: [{name: conf, mountPath: /etc/cache}]
      volumes: [{name: conf, configMap: {name: {{ .Release.Name }}-cache}}]
""",
}


def write_chart(folder: Path) -> Path:
    """The chart in a folder of its own."""
    chart = folder / "shop"
    for name, text in FILES.items():
        path = chart / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return chart
