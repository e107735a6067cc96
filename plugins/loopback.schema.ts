import { networkConfiguration } from '../shared/protocol/config.schema.js'

export const schema = networkConfiguration
