import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { readSettings } from '../../tools/agent/settings.js'
import { repository } from '../harness/locations.js'

// What the manifests in deploy/ ask for: to the verb, and capability by capability.

type Json = Record<string, unknown>

const deploy = join(repository, 'deploy')
const version = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')).version as string

function documents(file: string): readonly Json[] {
  const all = parseAllDocuments(readFileSync(join(deploy, file), 'utf8'))
  return all.map((one) => {
    expect(one.errors).toEqual([])
    return one.toJS() as Json
  })
}

function rules(file: string): readonly unknown[] {
  return documents(file).flatMap(({ kind, rules: own, metadata }) =>
    own === undefined ? [] : (own as Json[]).map((rule) => [kind, (metadata as Json)['namespace'] ?? '', rule]),
  )
}

test('the rights are those that the agent uses', () => {
  const apiGroups = ['']
  expect(rules('podwire.yaml')).toEqual([
    ['ClusterRole', '', { apiGroups, resources: ['nodes'], verbs: ['get', 'list', 'watch'] }],
    ['Role', 'default', { apiGroups, resources: ['events'], verbs: ['create', 'patch'] }],
    [
      'Role',
      'kube-system',
      { apiGroups, resources: ['configmaps'], resourceNames: ['podwire'], verbs: ['get', 'list', 'watch'] },
    ],
  ])
  expect(rules('network-unavailable.yaml')).toEqual([
    ['ClusterRole', '', { apiGroups, resources: ['nodes/status'], verbs: ['patch'] }],
  ])
  expect(rules('uninstall.yaml')).toEqual([])
})

const daemonSets = readdirSync(deploy).filter((name) => name !== 'network-unavailable.yaml' && name !== 'gc.yaml')

describe.each(daemonSets)('%s', (file) => {
  const set = documents(file).find(({ kind }) => kind === 'DaemonSet') as Json
  const pod = ((set['spec'] as Json)['template'] as Json)['spec'] as Json
  const containers = [...(pod['initContainers'] as Json[]), ...(pod['containers'] as Json[])]

  test('runs on every node, on its network', () => {
    expect(pod).toMatchObject({ hostNetwork: true, priorityClassName: 'system-node-critical' })
    expect(pod['tolerations']).toEqual([{ operator: 'Exists' }])
    expect(pod).not.toHaveProperty('hostPID')
  })

  test('is of this version, with a read-only root and no right but NET_ADMIN', () => {
    for (const { image, securityContext } of containers) {
      expect(image).toBe(`localhost/podwire:${version}`)
      const { capabilities, privileged, ...rest } = securityContext as Json
      expect(rest).toEqual({ runAsUser: 0, readOnlyRootFilesystem: true, allowPrivilegeEscalation: false })
      expect(privileged).toBeUndefined()
      expect([{ drop: ['ALL'] }, { drop: ['ALL'], add: ['NET_ADMIN'] }]).toContainEqual(capabilities)
    }
  })

  test('mounts what it names', () => {
    const volumes = (pod['volumes'] as Json[]).map(({ name }) => name)
    const mounts = containers.flatMap(({ volumeMounts }) => (volumeMounts as Json[]).map(({ name }) => name))
    expect(new Set(mounts)).toEqual(new Set(volumes))
  })
})

test('the leases that the docs tell of are seen, by the metrics and by gc', () => {
  const set = documents('podwire.yaml').find(({ kind }) => kind === 'DaemonSet') as Json
  const pod = ((set['spec'] as Json)['template'] as Json)['spec'] as Json
  const volumes = (pod['volumes'] as Json[]).map(({ name, hostPath }) => [name, (hostPath as Json)['path']] as const)
  const agent = (pod['containers'] as Json[])[0] as Json
  const mounts = new Map((agent['volumeMounts'] as Json[]).map(({ name, mountPath }) => [name, mountPath]))
  const docs = readFileSync(join(repository, 'docs/cluster.md'), 'utf8')
  const told = [...docs.matchAll(/dataDir: (\/[^\s},]+)/g)].map(([, folder]) => folder)
  expect(told.length).toBeGreaterThan(0)
  for (const folder of ['/var/lib/cni', ...told]) {
    const [name] = volumes.find(([, path]) => path === folder) ?? []
    expect(mounts.get(name), folder).toBe(`/host${folder}`)
  }
})

test('the ConfigMap is good', () => {
  const map = documents('podwire.yaml').find(({ kind }) => kind === 'ConfigMap') as { data: Record<string, string> }
  expect(readSettings(map.data['config.yaml'] ?? '-')).toHaveProperty('settings')
})

test('gc has rights of its own, which the manifest has not, and nothing else', () => {
  const [patch] = documents('gc.yaml')
  const added = ['NET_ADMIN', 'SYS_PTRACE', 'SYS_ADMIN']
  expect(patch).toEqual({
    spec: {
      template: {
        spec: {
          hostPID: true,
          containers: [
            {
              name: 'agent',
              securityContext: {
                appArmorProfile: { type: 'Unconfined' },
                capabilities: { drop: ['ALL'], add: added },
              },
              volumeMounts: [
                { name: 'leases', mountPath: '/var/lib/cni' },
                { name: 'records', mountPath: '/run/podwire' },
                { name: 'data', mountPath: '/run/cni-ipam-state' },
              ],
            },
          ],
        },
      },
    },
  })
  const text = readFileSync(join(deploy, 'gc.yaml'), 'utf8')
  for (const capability of added) expect(text).toMatch(new RegExp(`# .*${capability}`))
})
