import { isObject } from '../../shared/values/object.js'
import { type FileReader, objectsIn, textIn } from './reader.js'

// What people call a container whose ID a runtime gave to CNI. Runtimes keep it in the annotations of OCI bundles, in
// lists of their own, or tell it to plugins.

/** The names of containers by ID, those `told` before those in files; each bundle is read when it is asked for. */
export function containerNames(reader: FileReader, told: ReadonlyMap<string, string>): (containerID: string) => string {
  const known = new Map([...listedNames(reader), ...told])
  const bundles = bundleFolders(reader)
  return (containerID) => {
    const found = known.get(containerID) ?? nameInBundles(reader, bundles, containerID)
    known.set(containerID, found)
    return found
  }
}

/** The name in CNI_ARGS, which stays with the cached result: of kubelet's runtimes, and of Podman. */
export function nameInArgs(args: string): string {
  const pairs = args.split(';').map((pair): [string, string] => {
    const [name = '', ...value] = pair.split('=')
    return [name, value.join('=')]
  })
  const of = new Map(pairs)
  const name = of.get('K8S_POD_NAME') ?? ''
  return name === '' ? '' : [of.get('K8S_POD_NAMESPACE'), name].filter(Boolean).join('/')
}

// --- internal

const tasks = '/run/containerd/io.containerd.runtime.v2.task'
const storages = ['/var/lib/containers/storage', '/run/containers/storage']
const drivers = ['overlay-containers', 'vfs-containers', 'btrfs-containers', 'zfs-containers']

/** Where the bundle of a container lies: `FOLDER/ID/REST`; ctr and nerdctl tell CNI "PREFIX-ID". */
interface Bundles {
  readonly folder: string
  readonly rest: string
  readonly prefix?: string
}

function bundleFolders(reader: FileReader): readonly Bundles[] {
  const containerd = reader.names(tasks).map((namespace) => {
    return { folder: `${tasks}/${namespace}`, rest: 'config.json', prefix: `${namespace}-` }
  })
  const others = storages.flatMap((storage) =>
    drivers.map((driver) => ({ folder: `${storage}/${driver}`, rest: 'userdata/config.json' })),
  )
  return [...containerd, ...others.filter(({ folder }) => reader.isFolder(folder))]
}

function nameInBundles(reader: FileReader, bundles: readonly Bundles[], containerID: string): string {
  if (containerID === '' || containerID.includes('/') || containerID.startsWith('.')) return ''
  for (const { folder, rest, prefix } of bundles) {
    const isPrefixed = prefix !== undefined && containerID.startsWith(prefix) && containerID !== prefix
    for (const id of [containerID, ...(isPrefixed ? [containerID.slice(prefix.length)] : [])]) {
      const file = `${folder}/${id}/${rest}`
      if (reader.stat(file) === undefined) continue
      const annotations = reader.json(file)?.['annotations']
      const found = isObject(annotations) ? annotatedName(annotations) : ''
      // The ID of a container of ctr is the name that its user gave it.
      if (found !== '' || id !== containerID) return found || id
    }
  }
  return ''
}

/** containerd's CRI, CRI-O, nerdctl, and what any runtime may say. */
function annotatedName(annotations: Readonly<Record<string, unknown>>): string {
  const of = (name: string) => textIn(annotations, name)
  const pods = [
    ['io.kubernetes.cri.sandbox-namespace', 'io.kubernetes.cri.sandbox-name'],
    ['io.kubernetes.pod.namespace', 'io.kubernetes.pod.name'],
  ] as const
  for (const [namespace, name] of pods) if (of(name) !== '') return [of(namespace), of(name)].filter(Boolean).join('/')
  return of('nerdctl/name') || of('io.kubernetes.cri-o.Name') || of('io.podman.annotations.name')
}

/** Podman's and CRI-O's own lists: `[{id, names, metadata}]`. */
function listedNames(reader: FileReader): readonly (readonly [string, string])[] {
  return storages.flatMap((storage) =>
    drivers.flatMap((driver) => {
      const file = `${storage}/${driver}/containers.json`
      if (reader.stat(file) === undefined) return []
      return listIn(reader, file).flatMap((one): [string, string][] => {
        const [names, id] = [one['names'], textIn(one, 'id')]
        const first = Array.isArray(names) ? names.find((name) => typeof name === 'string') : undefined
        const name = podIn(textIn(one, 'metadata')) || String(first ?? '')
        return id === '' || name === '' ? [] : [[id, name]]
      })
    }),
  )
}

function listIn(reader: FileReader, file: string): readonly Readonly<Record<string, unknown>>[] {
  const text = reader.text(file)
  if (text === undefined) return []
  try {
    return objectsIn(JSON.parse(text))
  } catch (thrown) {
    if (!(thrown instanceof SyntaxError)) throw thrown
    reader.note(file, 'is no JSON')
    return []
  }
}

/** CRI-O's metadata of a pod's own container: `{"pod-name": ..., "namespace": ...}` as a text. */
function podIn(metadata: string): string {
  try {
    const value: unknown = JSON.parse(metadata === '' ? '{}' : metadata)
    const name = textIn(value, 'pod-name')
    return name === '' ? '' : [textIn(value, 'namespace'), name].filter(Boolean).join('/')
  } catch (thrown) {
    if (!(thrown instanceof SyntaxError)) throw thrown
    return ''
  }
}
